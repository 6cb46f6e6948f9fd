"""A whole night at the simulated observatory, file by file, in the order in which the files arrive."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from astropy.coordinates import angular_separation
from astropy.io import fits
from astropy.table import Table

from toros.sim.camera import build_detector
from toros.sim.exposure import RawFrame, take_bias, take_dark, take_flat, take_light
from toros.sim.header import maxim_header
from toros.sim.plan import Incident, julian_date, schedule
from toros.sim.sky import add_transients, camera_wcs, sky_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toros.sim.camera import Detector, SimulatedCamera
    from toros.sim.exposure import Conditions
    from toros.sim.plan import Field, NightPlan, Shot

_NOT_FITS = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00 a picture of the all-sky camera under the name of a frame\n" * 40
)


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """A file of the night and the truth about it.

    Attributes
    ----------
    name : str
        Of the file.
    kind : str
        "bias", "dark", "flat", "light", or "picture" where it is no frame; an incident does not change it.
    header : Header
        As written. Empty for `Incident.NOT_FITS`.
    data : uint16 array
        ADU, raw. Empty for `Incident.NOT_FITS`.
    truth : Table or None
        Sources of a light frame; see `RawFrame`. The meta holds the true WCS as cards under "wcs".
    masks : dict of bool arrays
        See `RawFrame`.
    incident : Incident or None
        What is wrong with it.
    """

    name: str
    kind: str
    header: fits.Header
    data: NDArray[np.uint16]
    truth: Table | None = None
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    incident: Incident | None = None

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        if self.incident is Incident.NOT_FITS:
            return _NOT_FITS
        buffer = io.BytesIO()
        fits.PrimaryHDU(self.data, self.header).writeto(buffer)
        content = buffer.getvalue()
        return content[: len(content) * 3 // 5] if self.incident is Incident.TRUNCATED else content

    def write(self, path: Path) -> None:
        """Write the file; one of that name is replaced."""
        path.write_bytes(self.to_bytes())


def simulate_night(plan: NightPlan, camera: SimulatedCamera, seed: int = 0) -> Iterator[SimulatedFrame]:
    """Take the frames of a night, in chronological order, one at a time as they are asked for.

    The same arguments give the same bytes. The stars and the flaws of the chip do not depend on `seed`:
    nights with different seeds see the same sky with the same camera.

    Parameters
    ----------
    plan : NightPlan
        What to take.
    camera : SimulatedCamera
        With what.
    seed : int
        Noise, seeing, pointing, cosmic rays, and on which frames the incidents happen.

    Raises
    ------
    BadParameters
        If the plan takes longer than the night, or names a filter that the camera has not.
    """
    shots = schedule(plan, camera, seed)
    observatory = _Observatory(plan, build_detector(camera), seed)
    return (observatory.take(shot) for shot in shots)


def write_night(frames: Iterable[SimulatedFrame], folder: Path, truth_folder: Path | None = None) -> Table:
    """Write frames into `folder` and the truth about them into `truth_folder`.

    By default the truth goes beside the folder, as ``<folder>-truth``: whoever watches the folder sees
    frames only. Returns the journal; see `record_truth`.
    """
    if truth_folder is None:
        truth_folder = folder.with_name(f"{folder.name}-truth")
    return record_truth(feed(frames, folder), truth_folder)


def feed(
    frames: Iterable[SimulatedFrame],
    folder: Path,
    *,
    interval: float = 0.0,
    pieces: int = 1,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[SimulatedFrame]:
    """Write frames as a camera computer does, under their final names from the first byte on.

    Parameters
    ----------
    frames : iterable of SimulatedFrame
        What to write.
    folder : Path
        Where; made if it is not there.
    interval : float
        Seconds from file to file; the pieces of a file arrive in the last tenth of it.
    pieces : int
        A file is written in so many pieces, each visible to others when the next one begins.
    sleep : callable
        Waits so many seconds.

    Yields
    ------
    SimulatedFrame
        Each one when its file is complete and closed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        if number:
            sleep(0.9 * interval)
        content = frame.to_bytes()
        size = math.ceil(len(content) / pieces)
        with (folder / frame.name).open("wb") as file:
            for start in range(0, len(content), size):
                if start:
                    sleep(0.1 * interval / pieces)
                file.write(content[start : start + size])
                file.flush()
        yield frame


def record_truth(frames: Iterable[SimulatedFrame], folder: Path) -> Table:
    """Write what is true of the frames: one ECSV table of sources for each light frame, and a journal.

    Parameters
    ----------
    frames : iterable of SimulatedFrame
        Used up.
    folder : Path
        Where; made if it is not there. The journal is ``journal.ecsv``.

    Returns
    -------
    Table
        The journal: file, kind, incident, date_obs, exptime, filter, object, sources. Texts that do not
        apply are empty; astropy reads them back from the file as masked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for frame in frames:
        if frame.truth is not None:
            frame.truth.write(folder / f"{Path(frame.name).stem}.ecsv", overwrite=True)
        rows.append(_journal_row(frame))
    names = ("file", "kind", "incident", "date_obs", "exptime", "filter", "object", "sources")
    types = (str, str, str, str, float, str, str, int)
    journal = Table(rows=rows or None, names=names, dtype=types)
    journal.write(folder / "journal.ecsv", overwrite=True)
    return journal


@dataclass(frozen=True, eq=False)
class _Observatory:
    """The telescope at work on one night."""

    plan: NightPlan
    detector: Detector
    seed: int

    def take(self, shot: Shot) -> SimulatedFrame:
        """Take the frame that the schedule asks for."""
        if shot.incident is Incident.NOT_FITS:
            nothing = np.empty((0, 0), np.uint16)
            return SimulatedFrame(shot.name, shot.kind, fits.Header(), nothing, incident=shot.incident)
        rng = self._chance(shot.number)
        raw = self._expose(shot, rng)
        temperature = self.detector.camera.set_temperature + rng.normal(0, 0.05)
        cards = maxim_header(shot, self.plan, self.detector.camera, ccd_temperature=temperature)
        header = fits.PrimaryHDU(raw.data, cards).header
        return SimulatedFrame(shot.name, shot.kind, header, raw.data, raw.truth, raw.masks, shot.incident)

    def _chance(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.plan.night.toordinal(), number])

    def _expose(self, shot: Shot, rng: np.random.Generator) -> RawFrame:
        if shot.field is not None:
            return self._light(shot, shot.field, rng)
        if shot.kind == "flat":
            level = self.plan.flat_level * rng.uniform(0.85, 1.15)
            band = self.detector.camera.band(shot.filter)
            return take_flat(self.detector, band, shot.exptime, rng, level=level)
        if shot.kind == "dark":
            return take_dark(self.detector, shot.exptime, rng, conditions=self.plan.conditions)
        return take_bias(self.detector, rng)

    def _light(self, shot: Shot, target: Field, rng: np.random.Generator) -> RawFrame:
        plan, camera = self.plan, self.detector.camera
        visit = self._chance(crc32(target.name.encode()))
        error = plan.pointing_error * visit.normal(0, 1, 2) + plan.dither * rng.uniform(-1, 1, 2)
        wcs = camera_wcs(
            camera,
            (target.ra + error[0] / 3600 / math.cos(math.radians(target.dec))) % 360,
            target.dec + error[1] / 3600,
        )
        reach = math.hypot(*camera.shape) / 2 * camera.pixel_scale + 40
        ra, dec = wcs.wcs.crval
        sources = sky_field(ra, dec, reach / 3600, density=plan.density, faint=plan.faint, seed=plan.sky_seed)
        middle = julian_date(shot.start) + shot.exptime / 2 / 86400
        transients = [
            one for one in plan.transients if _is_near(one.position(middle), (ra, dec), reach / 3600)
        ]
        raw = take_light(
            self.detector,
            add_transients(sources, transients, middle),
            wcs,
            camera.band(shot.filter),
            shot.exptime,
            rng,
            conditions=_conditions_of(shot, plan.conditions, rng),
        )
        if raw.truth is not None:
            raw.truth.meta["wcs"] = dict(wcs.to_header(relax=True))
        return raw


def _is_near(place: tuple[float, float], centre: tuple[float, float], reach: float) -> bool:
    """Tell whether two places are within so many degrees: far from its centre, a frame's WCS means nothing."""
    return bool(np.degrees(angular_separation(*np.radians([*place, *centre]))) <= reach)


def _conditions_of(shot: Shot, average: Conditions, rng: np.random.Generator) -> Conditions:
    """Vary seeing and transparency from exposure to exposure, and let the incidents happen."""
    now = replace(
        average,
        seeing=average.seeing * rng.lognormal(0, 0.06),
        extinction=average.extinction + rng.exponential(0.02),
        satellite=average.satellite or shot.incident is Incident.SATELLITE,
    )
    if shot.incident is Incident.BAD_GUIDING:
        now = replace(now, ellipticity=rng.uniform(0.45, 0.6), trail_angle=rng.uniform(0, 180))
    return now


def _journal_row(frame: SimulatedFrame) -> tuple[str, str, str, str, float, str, str, int]:
    header = frame.header
    return (
        frame.name,
        frame.kind,
        frame.incident.value if frame.incident else "",
        header.get("DATE-OBS", ""),
        header.get("EXPTIME", 0.0),
        header.get("FILTER", ""),
        header.get("OBJECT", ""),
        0 if frame.truth is None else len(frame.truth),
    )
