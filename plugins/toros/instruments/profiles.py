"""All cameras and dialects: those shipped here, and those that the observatory has added.

A folder of one's own holds the sub-folders ``dialects`` and ``cameras``, with one TOML file for each. What is
there comes first, and a file of the same name replaces the shipped one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from astropy.io import fits

from toros.errors import BadProfile, UnknownCamera
from toros.instruments.camera import CameraProfile
from toros.instruments.data_file import DataModel, read_data_file
from toros.instruments.dialect import Dialect

_GENERIC = "generic"
"""File of the dialect that the others build on, and of the camera that is tried last."""

_Profile = TypeVar("_Profile", bound=DataModel)


@dataclass(frozen=True)
class Profiles:
    """All dialects and cameras, in the order in which they are asked."""

    dialects: tuple[Dialect, ...]
    cameras: tuple[CameraProfile, ...]

    def dialect_of(self, header: fits.Header) -> Dialect:
        """Find the dialect that a header is written in; the generic one if no program is recognised."""
        generic = self.dialects[-1]
        return next((dialect for dialect in self.dialects if dialect.is_spoken_in(header)), generic)

    def camera_of(
        self, header: fits.Header, shape: tuple[int, int], binning: tuple[int, int]
    ) -> CameraProfile:
        """Find the camera that took a frame of this shape (ny, nx) and binning (x, y); or the generic."""
        generic = self.cameras[-1]
        return next((camera for camera in self.cameras if camera.matches(header, shape, binning)), generic)

    def camera(self, name: str) -> CameraProfile:
        """Give the camera of this name.

        Raises
        ------
        UnknownCamera
            There is no such profile.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise UnknownCamera(f"there is no profile of a camera {name!r}")


def load_profiles(extra_dirs: Iterable[Path] = ()) -> Profiles:
    """Read the profiles of these folders, and then the shipped ones.

    Raises
    ------
    BadProfile
        A file is not TOML, or does not say what it should; the message names file and field.
    """
    folders = [*map(Path, extra_dirs), Path(__file__).parent]
    for folder in folders:
        if not folder.is_dir():
            raise BadProfile(f"the folder of profiles {folder} is not there")
    dialects = _read_all(folders, "dialects", Dialect)
    cameras = _read_all(folders, "cameras", CameraProfile)
    generic = dialects.pop(_GENERIC)
    spoken = sorted((dialect.based_on(generic) for dialect in dialects.values()), key=lambda d: -d.rank)
    generic_camera = cameras.pop(_GENERIC)
    return Profiles(dialects=(*spoken, generic), cameras=(*cameras.values(), generic_camera))


def _read_all(folders: list[Path], kind: str, model: type[_Profile]) -> dict[str, _Profile]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / kind).glob("*.toml")):
            found.setdefault(path.stem, path)
    return {stem: read_data_file(path, model) for stem, path in found.items()}
