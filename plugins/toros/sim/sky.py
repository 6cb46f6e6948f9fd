"""The simulated sky: stars, galaxies and things that change, and where a camera sees them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import angular_separation
from astropy.table import Table, vstack
from astropy.wcs import WCS, Sip

from toros.errors import BadParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toros.sim.camera import Band, SimulatedCamera

_CELL = 0.25
"""Height of the cells in degrees by which the sky is drawn; each has a seed of its own."""

LightCurve = Callable[[float], float]
"""Julian date -> magnitude in the reference band; infinite while nothing is to be seen."""


@dataclass(frozen=True)
class Transient:
    """A source that is not in the field of every night: a supernova, a variable star, an asteroid.

    Attributes
    ----------
    name : str
        Its name in the truth tables.
    ra, dec : float
        ICRS degrees, at `epoch`.
    light_curve : callable
        Magnitude at a Julian date.
    colour : float
        As in `sky_field`.
    motion : (float, float)
        arcsec per hour to the east and to the north.
    epoch : float
        Julian date of the position; matters where there is motion.
    kind : str
        What it is, in the truth tables.
    """

    name: str
    ra: float
    dec: float
    light_curve: LightCurve
    colour: float = 0.3
    motion: tuple[float, float] = (0.0, 0.0)
    epoch: float = 0.0
    kind: str = "transient"

    def position(self, jd: float) -> tuple[float, float]:
        """Return right ascension and declination (degrees) at a Julian date."""
        if self.motion == (0.0, 0.0):
            return self.ra, self.dec
        east, north = (rate * 24 * (jd - self.epoch) / 3600 for rate in self.motion)
        return (self.ra + east / math.cos(math.radians(self.dec))) % 360, self.dec + north


@dataclass(frozen=True)
class Supernova:
    """Light curve: a rise in flux with the square of time, then a decline linear in magnitude."""

    peak_magnitude: float
    peak_jd: float
    rise_days: float = 15.0
    decline_per_day: float = 0.08

    def __call__(self, jd: float) -> float:
        days = jd - self.peak_jd
        if days >= 0:
            return self.peak_magnitude + self.decline_per_day * days
        phase = 1 + days / self.rise_days
        return self.peak_magnitude - 5 * math.log10(phase) if phase > 0 else math.inf


@dataclass(frozen=True)
class Pulsation:
    """Light curve: a sine wave about a mean magnitude."""

    mean_magnitude: float
    amplitude: float
    period_days: float
    maximum_jd: float = 2451545.0

    def __call__(self, jd: float) -> float:
        return self.mean_magnitude - self.amplitude * math.cos(
            2 * math.pi * (jd - self.maximum_jd) / self.period_days
        )


def sky_field(
    ra: float,
    dec: float,
    radius: float,
    *,
    density: float = 5.0,
    galaxy_fraction: float = 0.08,
    bright: float = 10.0,
    faint: float = 21.0,
    seed: int = 0,
) -> Table:
    """Return the constant sky within `radius` of a position.

    Whoever looks at a place sees the same sources there, however wide the field, as long as the limits,
    the density and the seed are the same. Stars follow log N(< m) = 0.3 m + const, about the counts
    towards the galactic poles near magnitude 15, and have the blue and the red peak of g - r; galaxies
    follow the slope 0.5, a little flatter than the 0.6 of an even space.

    Parameters
    ----------
    ra, dec : float
        ICRS degrees of the centre.
    radius : float
        Degrees.
    density : float
        Mean number of sources per square arcmin down to `faint`.
    galaxy_fraction : float
        Fraction of them that are galaxies.
    bright, faint : float
        Limits in the reference band (r).
    seed : int
        Another seed is another sky.

    Returns
    -------
    Table
        name, kind ("star" or "galaxy"), ra, dec (deg), mag (r), colour (g - r), half_light_radius (arcsec,
        0 for stars), axis_ratio, position_angle (deg, north through east), sersic_index.
    """
    if not 0 < radius < 90 or density < 0 or faint <= bright:
        raise BadParameters(f"no sky of radius {radius} deg, {density} per arcmin2, {bright}-{faint} mag")
    cells = [
        _cell(cell, density, galaxy_fraction, bright, faint, np.random.default_rng([seed, *cell[:2]]))
        for cell in _cells_around(ra, dec, radius)
    ]
    field = Table({name: np.concatenate([cell[name] for cell in cells]) for name in cells[0]})
    distance = angular_separation(
        *np.radians([ra, dec])[:, None], np.radians(field["ra"]), np.radians(field["dec"])
    )
    return field[distance <= math.radians(radius)]


def add_transients(sources: Table, transients: Sequence[Transient], jd: float) -> Table:
    """Return the sky of one moment: `sources` and those transients that shine then.

    They are points of their kinds.
    """
    shining = [(one, one.light_curve(jd)) for one in transients]
    shining = [(one, magnitude) for one, magnitude in shining if math.isfinite(magnitude)]
    if not shining:
        return sources
    positions = [one.position(jd) for one, _ in shining]
    nothing = np.zeros(len(shining))
    extra = Table(
        {
            "name": [one.name for one, _ in shining],
            "kind": [one.kind for one, _ in shining],
            "ra": [ra for ra, _ in positions],
            "dec": [dec for _, dec in positions],
            "mag": [magnitude for _, magnitude in shining],
            "colour": [one.colour for one, _ in shining],
            "half_light_radius": nothing,
            "axis_ratio": nothing + 1,
            "position_angle": nothing,
            "sersic_index": nothing + 1,
        }
    )
    return vstack([sources, extra], metadata_conflicts="silent")


def camera_wcs(camera: SimulatedCamera, ra: float, dec: float) -> WCS:
    """Return the true WCS (TAN-SIP, ICRS) of a camera whose central pixel looks at `ra`, `dec` (degrees)."""
    ny, nx = camera.shape
    wcs = WCS(naxis=2)
    distorted = "-SIP" if camera.distortion else ""
    wcs.wcs.ctype = [f"RA---TAN{distorted}", f"DEC--TAN{distorted}"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    turn = math.radians(camera.rotation)
    east_of_x = 1.0 if camera.mirrored else -1.0
    wcs.wcs.cd = (camera.pixel_scale / 3600) * np.array(
        [
            [east_of_x * math.cos(turn), math.sin(turn)],
            [-east_of_x * math.sin(turn), math.cos(turn)],
        ]
    )
    if camera.distortion:
        wcs.sip = _radial_sip(-camera.distortion, wcs.wcs.crpix)
    wcs.pixel_shape = (nx, ny)
    wcs.wcs.set()
    return wcs


def locate(sources: Table, wcs: WCS, camera: SimulatedCamera, band: Band) -> Table:
    """Return the sources that can send light to the frame, and where on it they are.

    Adds x and y (0-based px) and angle (of a galaxy's major axis, degrees from +x towards +y), and turns mag
    into that of `band`. Sources up to 30 arcsec outside the frame are kept.
    """
    ny, nx = camera.shape
    x, y = wcs.all_world2pix(sources["ra"], sources["dec"], 0, tolerance=1e-6)
    margin = 30 / camera.pixel_scale
    near = (x > -margin) & (x < nx + margin) & (y > -margin) & (y < ny + margin)
    located = sources[near]
    located["x"], located["y"] = x[near], y[near]
    located["mag"] = located["mag"] + band.colour_term * located["colour"]
    located["angle"] = _pixel_angle(wcs, np.radians(located["position_angle"]))
    return located


def _cells_around(ra: float, dec: float, radius: float) -> Iterator[tuple[int, int, int]]:
    """Yield the cells that a circle may touch: band of declination, number in it, cells in that band."""
    south, north = (math.floor((edge + 90) / _CELL) for edge in (dec - radius, dec + radius))
    near_pole = abs(dec) + radius >= 90
    half = 180.0 if near_pole else math.degrees(math.asin(_sin(radius) / math.cos(math.radians(dec))))
    for band in range(max(south, 0), min(north, round(180 / _CELL) - 1) + 1):
        count = max(1, round(360 * math.cos(math.radians(_CELL * (band + 0.5) - 90)) / _CELL))
        first, last = (math.floor(edge / 360 * count) for edge in (ra - half, ra + half))
        for number in range(first, min(last, first + count - 1) + 1):
            yield band, number % count, count


def _cell(
    cell: tuple[int, int, int],
    density: float,
    galaxy_fraction: float,
    bright: float,
    faint: float,
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """Draw the sources of one cell of the sky, as columns."""
    band, number, count = cell
    south, north = _sin(_CELL * band - 90), _sin(_CELL * (band + 1) - 90)
    size = rng.poisson(density * (360 / count) * math.degrees(north - south) * 3600)
    is_galaxy = rng.random(size) < galaxy_fraction
    mag = _magnitudes(np.where(is_galaxy, 0.5, 0.3), np.where(is_galaxy, bright + 4, bright), faint, rng)
    red = rng.random(size) < 0.45
    galaxy_size = 2.5 * 10 ** (-0.12 * (mag - 17)) * rng.lognormal(0, 0.25, size)
    return {
        "name": np.array([f"S{band:03d}-{number:04d}-{source:05d}" for source in range(size)], dtype="U15"),
        "kind": np.where(is_galaxy, "galaxy", "star"),
        "ra": (number + rng.random(size)) * 360 / count,
        "dec": np.degrees(np.arcsin(rng.uniform(south, north, size))),
        "mag": mag,
        "colour": np.where(red, rng.normal(1.35, 0.15, size), rng.normal(0.55, 0.2, size)),
        "half_light_radius": np.where(is_galaxy, galaxy_size, 0.0),
        "axis_ratio": rng.uniform(0.3, 1.0, size),
        "position_angle": rng.uniform(0.0, 180.0, size),
        "sersic_index": rng.choice([1.0, 1.0, 2.5], size),
    }


def _magnitudes(
    slope: NDArray[np.float64], bright: NDArray[np.float64], faint: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw magnitudes with cumulative counts 10 ** (slope * m) between the limits."""
    least = 10 ** (slope * (bright - faint))
    magnitudes: NDArray[np.float64] = faint + np.log10(rng.uniform(least, 1.0)) / slope
    return magnitudes


def _sin(degrees: float) -> float:
    return math.sin(math.radians(degrees))


def _radial_sip(coefficient: float, crpix: NDArray[np.float64]) -> Sip:
    """SIP polynomials (Shupe et al. 2005) of a cubic radial distortion."""
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[3, 0] = a[1, 2] = coefficient
    b[0, 3] = b[2, 1] = coefficient
    return Sip(a, b, None, None, crpix)


def _pixel_angle(wcs: WCS, position_angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees from +x towards +y of directions given from north through east, at the centre of the frame."""
    east_north = np.stack([np.sin(position_angle), np.cos(position_angle)])
    dx, dy = np.linalg.solve(wcs.wcs.cd, east_north)
    angle: NDArray[np.float64] = np.degrees(np.arctan2(dy, dx))
    return angle
