"""The real astrometry.net, for frames of which nothing is known: an optional fall-back.

Its indexes are built from the observatory's own catalogue, so that it works offline. Where it says that a
frame points is a hint for `toros.science.plate.solve_plate`, which fits the frame's own distortion.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from toros.errors import BadParameters, NoCatalogue, NoPlateSolution, ProgramMissing, TooFewStars
from toros.science.plate_matching import LEAST_STARS, Hint

_FIRST_QUADS = 2.0
"""Arcmin: the smallest quads of astrometry.net's index scale 0; each scale is larger by the root of 2."""

_LARGEST_SCALE = 19
_QUAD_SIZES = (0.2, 0.4, 0.7)
"""Sizes of the quads to index, relative to the shorter side of a frame."""

_BRIGHTEST = 500
_BUILD_TIMEOUT = 600.0


@dataclass(frozen=True)
class Programs:
    """Where the programs of astrometry.net are."""

    solve_field: Path
    build_index: Path


def find_programs() -> Programs:
    """Return the programs of astrometry.net, as the PATH has them.

    Raises
    ------
    ProgramMissing
        If one is not installed.
    """
    return Programs(_program("solve-field"), _program("build-astrometry-index"))


def build_index(stars: Table, folder: Path, field: float, *, timeout: float = _BUILD_TIMEOUT) -> list[Path]:
    """Write indexes of a catalogue for frames of one size.

    Parameters
    ----------
    stars : Table
        Columns ra, dec (ICRS degrees) and mag.
    folder : Path
        Where the indexes go, as ``index-NN.fits``; made if it is not there. Others of these names are replaced.
    field : float
        Degrees of the shorter side of the frames to solve.
    timeout : float
        Seconds for each index.

    Returns
    -------
    list of Path

    Raises
    ------
    ProgramMissing
        If astrometry.net is not installed.
    BadParameters
        If the size of the frames makes no sense.
    NoCatalogue
        If no index can be made of these stars.
    """
    if not 0 < field < 180:
        raise BadParameters(f"frames of {field} degrees")
    program = find_programs().build_index
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        catalogue = Path(scratch, "stars.fits")
        columns = {
            name: np.ma.filled(np.ma.asarray(stars[name], np.float64), np.nan)
            for name in ("ra", "dec", "mag")
        }
        known = np.logical_and.reduce([np.isfinite(column) for column in columns.values()])
        Table({name: column[known] for name, column in columns.items()}).write(catalogue)
        return [_build(program, catalogue, folder, scale, timeout) for scale in _index_scales(field)]


def solve_blind(
    x: NDArray[Any],
    y: NDArray[Any],
    flux: NDArray[Any],
    shape: tuple[int, int],
    index_folder: Path,
    scratch: Path,
    hint: Hint | None = None,
    timeout: float = 60.0,
) -> WCS:
    """Solve a frame with ``solve-field``.

    Parameters
    ----------
    x, y, flux : ndarray, shape (n,)
        Detections: 0-based pixels (the programs count from one; that is seen to), and brightness.
    shape : (int, int)
        Rows and columns of the frame.
    index_folder : Path
        With indexes, as `build_index` or astrometry.net's own.
    scratch : Path
        An existing folder for files that are removed again.
    hint : Hint, optional
        Its place and its scale, if it has one, limit the search.
    timeout : float
        Seconds.

    Returns
    -------
    WCS
        TAN, about the middle of the frame; the polynomials are left to `solve_plate`.

    Raises
    ------
    ProgramMissing
        If astrometry.net is not installed.
    NoCatalogue
        If the folder has no index.
    TooFewStars
        If there are too few detections.
    NoPlateSolution
        If nothing was found in time.
    """
    program = find_programs().solve_field
    if not any(index_folder.glob("*.fits")):
        raise NoCatalogue(
            f"no astrometry.net index in {index_folder}",
            advice="build indexes of your reference catalogue, or copy those of astrometry.net there",
        )
    usable = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & np.isfinite(flux))
    if usable.size < LEAST_STARS:
        raise TooFewStars(f"{usable.size} detections; {LEAST_STARS} are the least")
    brightest = usable[np.argsort(-np.asarray(flux)[usable], kind="stable")[:_BRIGHTEST]]
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name).resolve()
        _write_detections(folder / "field.xyls", np.asarray(x)[brightest], np.asarray(y)[brightest])
        (folder / "engine.cfg").write_text(
            f"cpulimit {math.ceil(timeout)}\nadd_path {index_folder.resolve()}\nautoindex\n"
        )
        output = _run(_solve_command(program, folder, shape, hint, timeout), folder, timeout)
        return _read_solution(folder / "field.wcs", shape, f"{brightest.size} detections; {output}")


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise ProgramMissing(
            f"{name} of astrometry.net is not on the PATH",
            advice="install astrometry.net (Debian: apt-get install astrometry.net), or do without blind solutions",
        )
    return Path(found)


def _index_scales(field: float) -> list[int]:
    """Return the numbers of the index scales whose quads fit into frames of so many degrees."""
    steps = (round(2 * math.log2(size * 60 * field / _FIRST_QUADS)) for size in _QUAD_SIZES)
    return sorted({min(max(step, 0), _LARGEST_SCALE) for step in steps})


def _build(program: Path, catalogue: Path, folder: Path, scale: int, timeout: float) -> Path:
    made, index = catalogue.with_name(f"{scale}.fits"), folder / f"index-{scale:02d}.fits"
    command = [program, "-i", catalogue, "-o", made, "-P", scale, "-S", "mag", "-A", "ra", "-D", "dec", "-E"]
    output = _run(
        [*map(str, command), "-I", str(scale), "-t", str(catalogue.parent)], catalogue.parent, timeout
    )
    if not made.is_file():
        raise NoCatalogue(f"astrometry.net cannot make an index of scale {scale} of these stars: {output}")
    made.replace(index)
    return index


def _write_detections(path: Path, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Write the list, the brightest first, counting pixels from one."""
    columns = [
        fits.Column("X", "D", array=np.asarray(x, np.float64) + 1),
        fits.Column("Y", "D", array=np.asarray(y, np.float64) + 1),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)


def _solve_command(
    program: Path, folder: Path, shape: tuple[int, int], hint: Hint | None, timeout: float
) -> list[str]:
    command = [str(program), str(folder / "field.xyls"), "--config", str(folder / "engine.cfg")]
    command += ["--width", str(shape[1]), "--height", str(shape[0]), "--x-column", "X", "--y-column", "Y"]
    command += [
        "--dir",
        str(folder),
        "--temp-dir",
        str(folder),
        "--overwrite",
        "--no-plots",
        "--crpix-center",
    ]
    command += ["--no-tweak", "--cpulimit", str(math.ceil(timeout))]
    for product in ("--new-fits", "--solved", "--match", "--rdls", "--corr", "--index-xyls"):
        command += [product, "none"]
    if hint is not None:
        command += ["--ra", str(hint.ra), "--dec", str(hint.dec), "--radius", str(hint.radius)]
    if hint is not None and hint.scale is not None:
        low, high = hint.scale / (1 + hint.scale_range), hint.scale * (1 + hint.scale_range)
        command += ["--scale-units", "arcsecperpix", "--scale-low", str(low), "--scale-high", str(high)]
    return command


def _read_solution(path: Path, shape: tuple[int, int], tried: str) -> WCS:
    if not path.is_file():
        raise NoPlateSolution(f"astrometry.net found nothing: {tried}")
    header = fits.getheader(path)
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, shape[1], shape[0]
    return WCS(header)


def _run(command: Sequence[str], folder: Path, timeout: float) -> str:
    """Run a program and return its last line; on a timeout all that it started ends with it."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise NoPlateSolution(f"{Path(command[0]).name} did not end within {timeout:g} seconds") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
