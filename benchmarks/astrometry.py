"""Where frames look: detections of a simulated sky, matched with its stars from a hint that is wrong."""

from __future__ import annotations

import math
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.unit import Bench, Case, Work, Wrong

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

    from toros.science.plate import Hint, PlateSolution

_FIELDS, _FIELDS_QUICK = 500, 50
_OFF = 5.0
"""Pixels from truth, at the worst place of a frame, from which on a solution is false."""


@dataclass(frozen=True)
class Observation:
    """What a camera and a detector make of the stars of a place, and what is believed of it.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    scale : float
        Arcsec per pixel; the camera's is up to 1 % larger or smaller.
    density : float
        Stars per square arcmin in the catalogue, and on the frame.
    faint : float
        Magnitude at which the catalogue ends; on the frame they go down to 21, unless `most` ends them earlier.
    most : int
        Stars on the frame at most, the brightest.
    spurious, missing : float
        Of the detections, parts that are no stars; of the stars, parts that are not detected.
    noise : float
        Pixels, error of a position in each axis.
    bend : float
        Pixels by which the optics move a star in a corner; it rises with the third power of the radius.
    hint_error, radius : float
        Degrees: how far the hint is off, and how far it is said to be.
    mirrored : bool or None
        None: as chance will have it.
    dec : float or None
        Degrees; None: anywhere on the sky.
    """

    shape: tuple[int, int] = (4096, 4096)
    scale: float = 0.63
    density: float = 2.5
    faint: float = 21.0
    most: int = 4118
    spurious: float = 0.3
    missing: float = 0.15
    noise: float = 0.15
    bend: float = 2.5
    hint_error: float = 0.2
    radius: float = 0.5
    mirrored: bool | None = True
    dec: float | None = None

    def take(self, seed: int) -> Field:
        """Return what chance makes of it."""
        from toros.sim import azulcito, camera_wcs, sky_field

        rng = np.random.default_rng(seed)
        ra, dec = rng.uniform(0, 360), math.degrees(math.asin(rng.uniform(-1, 1)))
        dec = dec if self.dec is None else self.dec
        corner = math.hypot(*self.shape) / 2
        camera = replace(
            azulcito(self.shape),
            pixel_scale=self.scale * rng.uniform(0.99, 1.01),
            rotation=rng.uniform(-180, 180),
            mirrored=bool(rng.integers(2)) if self.mirrored is None else self.mirrored,
            distortion=self.bend / corner**3,
        )
        wcs = camera_wcs(camera, ra, dec)
        hint = self._hint(ra, dec, rng)
        reach = self.radius + corner * self.scale / 3600
        options = {"density": self.density, "galaxy_fraction": 0.0, "seed": seed}
        stars = sky_field(hint.ra, hint.dec, reach, **options)["ra", "dec", "mag"]
        here = sky_field(ra, dec, 1.05 * corner * self.scale / 3600, **options)["ra", "dec", "mag"]
        x, y, mag = self._detections(here, wcs, rng)
        return Field(x, y, 10 ** (-0.4 * mag), stars[stars["mag"] < self.faint], self.shape, hint, wcs)

    def _hint(self, ra: float, dec: float, rng: np.random.Generator) -> Hint:
        from toros.science.plate import Hint
        from toros.science.plate_matching import ARCSEC, TangentPlane

        angle = rng.uniform(0, 2 * math.pi)
        away = math.tan(math.radians(self.hint_error)) * ARCSEC * np.array([math.sin(angle), math.cos(angle)])
        return Hint(*TangentPlane(ra, dec).sky(away), self.radius, self.scale)

    def _detections(
        self, stars: Table, wcs: WCS, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        height, width = self.shape
        x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, tolerance=1e-6)
        inside = np.flatnonzero(
            (np.abs(x / (width - 1) - 0.5) < 0.5) & (np.abs(y / (height - 1) - 0.5) < 0.5)
        )
        seen = inside[np.argsort(stars["mag"][inside])][: self.most]
        seen = seen[rng.random(seen.size) > self.missing]
        mag = np.asarray(stars["mag"])[seen] + rng.normal(0, 0.15, seen.size)
        x, y = (axis[seen] + rng.normal(0, self.noise, seen.size) for axis in (x, y))
        count = round(seen.size * self.spurious / (1 - self.spurious))
        x, y = np.append(x, rng.uniform(0, width, count)), np.append(y, rng.uniform(0, height, count))
        mag = np.append(mag, rng.choice(mag, count))
        shuffled = rng.permutation(mag.size)
        return x[shuffled], y[shuffled], mag[shuffled]


@dataclass(frozen=True, eq=False)
class Field:
    """What `solve_plate` takes, and the truth."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    stars: Table
    shape: tuple[int, int]
    hint: Hint
    wcs: WCS

    def solve(self, **limits: Any) -> PlateSolution:
        from toros.science.plate import solve_plate

        return solve_plate(self.x, self.y, self.flux, self.stars, self.shape, self.hint, **limits)

    def errors(self, wcs: WCS) -> NDArray[np.float64]:
        """Return by how many pixels another WCS is off, on a grid over the frame, shape (n, 2)."""
        height, width = self.shape
        x, y = np.meshgrid(np.linspace(0, width - 1, 15), np.linspace(0, height - 1, 15))
        pixels = np.column_stack([x.ravel(), y.ravel()])
        sky = wcs.all_pix2world(pixels, 0)
        there = self.wcs.all_world2pix(sky, 0, tolerance=1e-7, quiet=True)
        return np.nan_to_num(there - pixels, nan=np.inf)

    def is_solved_by(self, solution: PlateSolution) -> bool:
        """Tell a solution from a false one."""
        return bool(np.abs(self.errors(solution.wcs)).max() < _OFF)


@cache
def _observation(size: int) -> Observation:
    """Return the standard frame: some 5000 detections on 4096 x 4096 pixels."""
    return Observation((size, size))


@cache
def _field(size: int) -> Field:
    return _observation(size).take(seed=1)


def _match(bench: Bench) -> Work:
    from toros.science.plate_matching import match_plate

    field = _field(bench.size)
    bright = np.argsort(-field.flux)
    stars = field.stars[np.argsort(field.stars["mag"])]
    x, y, ra, dec = field.x[bright], field.y[bright], np.asarray(stars["ra"]), np.asarray(stars["dec"])
    return lambda: match_plate(x, y, ra, dec, field.shape, field.hint)


def _solve(bench: Bench) -> Work:
    return _field(bench.size).solve


def _solve_all(bench: Bench) -> Work:
    count = _FIELDS if bench.size == 4096 else _FIELDS_QUICK
    fields = [_observation(bench.size).take(seed) for seed in range(count)]
    return lambda: [(field, *_solved(field)) for field in fields]


def _solved(field: Field) -> tuple[PlateSolution | None, float]:
    """Solve a field; return the solution, if there is one, and the seconds that it took."""
    from toros.errors import TorosError

    start = time.perf_counter()
    try:
        solution = field.solve()
    except TorosError:
        solution = None
    return solution, time.perf_counter() - start


def _solve_field(bench: Bench) -> Work:
    from toros.catalogues.astrometry_net import build_index, solve_blind

    field = _field(bench.size)
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    build_index(field.stars, folder / "index", bench.size * 0.63 / 3600)
    return lambda: solve_blind(
        field.x, field.y, field.flux, field.shape, folder / "index", folder, field.hint
    )


def _astropy_fit(bench: Bench) -> Work:
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import fit_wcs_from_points

    field = _field(bench.size)
    solution = field.solve()
    pixels = field.x[solution.detections], field.y[solution.detections]
    stars = field.stars[solution.stars]
    sky = SkyCoord(stars["ra"], stars["dec"], unit="deg")
    return lambda: fit_wcs_from_points(pixels, sky, projection="TAN", sip_degree=3)


def _matched(match: Any) -> str:
    return f"{match.detections.size} pairs, odds of chance 1e{match.chance:.0f}"


def _accuracy(solution: PlateSolution) -> str:
    field = _field(solution.wcs.pixel_shape[0])
    error = math.sqrt((field.errors(solution.wcs) ** 2).mean())
    limit = 0.02 * max(1.0, math.sqrt(1000 / solution.n_stars))
    if error > limit:
        raise Wrong(f"rms {error:.4f} px from truth in each axis; at most {limit:.2g}")
    return f"{field.x.size} detections, {solution.n_stars} stars, rms {error:.4f} px from truth in each axis"


def _rate(results: list[tuple[Field, PlateSolution | None, float]]) -> str:
    solved = [(field, solution) for field, solution, _ in results if solution is not None]
    false = sum(not field.is_solved_by(solution) for field, solution in solved)
    right = len(solved) - false
    seconds = [seconds for _, _, seconds in results]
    said = (
        f"{right} of {len(results)} solved, {false} false, each in {1000 * statistics.median(seconds):.0f} ms"
    )
    if right < 0.99 * len(results) or false:
        raise Wrong(f"{said}; at least 99 %, and none false")
    return said


_INSTALLED = shutil.which("solve-field") is not None

CASES = (
    Case(
        "match detections with stars; library: solve-field with the same hint",
        _match,
        limit=0.5,
        megabytes=200,
        library=_solve_field if _INSTALLED else None,
        remark=_matched,
    ),
    Case(
        "plate solution, TAN-SIP; library: astropy's fit to the pairs alone",
        _solve,
        limit=1,
        megabytes=200,
        library=_astropy_fit,
        remark=_accuracy,
    ),
    Case("plate solutions of random fields, mirrored, 12 arcmin off", _solve_all, remark=_rate),
)
