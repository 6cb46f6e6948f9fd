"""One exposure: light, chip and read-out, from expected electrons to the numbers in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from toros.sim.artefacts import bleed, cosmic_rays, satellite_trail
from toros.sim.camera import ADU_MAX
from toros.sim.psf import Psf, add_galaxies, add_stars
from toros.sim.sky import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.table import Table
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from toros.sim.camera import Band, Detector, SimulatedCamera

_FEW_ELECTRONS = 30.0
"""Below so many expected electrons shot noise follows Poisson's law; above, the normal law is as good."""

_BAND_PIXELS = 1 << 17
"""Pixels that are worked on at a time: they stay in the processor's cache."""


@dataclass(frozen=True)
class Conditions:
    """The night, the mount and the dust during an exposure.

    Attributes
    ----------
    seeing : float
        FWHM of a star, arcsec.
    ellipticity, trail_angle : float
        Elongation of the stars by the mount, and its direction in degrees from +x towards +y.
    extinction : float
        Magnitudes lost to the air and to clouds.
    moonlight : float
        Magnitudes by which the sky is brighter than dark.
    sky_gradient : float
        Relative change of the sky over the frame.
    cosmic_ray_rate : float
        Tracks per cm^2 and minute; about 1 at sea level, several times that on a mountain.
    satellite : bool
        Whether one crosses the frame.
    dust_shift : (float, float)
        Rows and columns by which the dust has moved from its first place.
    """

    seeing: float = 1.5
    ellipticity: float = 0.02
    trail_angle: float = 30.0
    extinction: float = 0.0
    moonlight: float = 0.0
    sky_gradient: float = 0.02
    cosmic_ray_rate: float = 3.0
    satellite: bool = False
    dust_shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class RawFrame:
    """What the camera gives, and what we know about it.

    Attributes
    ----------
    data : uint16 array, camera.raw_shape
        ADU.
    truth : Table or None
        The sources whose centres lie on a light frame: those of `toros.sim.sky.sky_field`, with x, y
        (0-based px of the trimmed frame), mag (in the frame's filter) and flux (electrons from the whole
        profile, at response 1). The meta says filter, exptime, zero_point, fwhm (px), sky (e-/px at the
        centre) and gain.
    masks : dict of bool arrays, camera.shape
        "cosmic_rays", "satellite" and "saturated", as far as they apply.
    """

    data: NDArray[np.uint16]
    truth: Table | None = None
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


def take_bias(detector: Detector, rng: np.random.Generator) -> RawFrame:
    """Read the chip out without exposing it."""
    return RawFrame(read_out(np.zeros(detector.camera.shape, np.float32), detector, rng))


def take_dark(
    detector: Detector, exptime: float, rng: np.random.Generator, *, conditions: Conditions = Conditions()
) -> RawFrame:
    """Expose for `exptime` seconds behind the closed shutter: dark current and cosmic rays."""
    noise, chance = rng.spawn(2)
    electrons = detector.dark_electrons(exptime)
    masks = {"cosmic_rays": _add_cosmic_rays(electrons, detector.camera, exptime, conditions, chance)}
    return RawFrame(read_out(electrons, detector, noise), masks=masks)


def take_flat(
    detector: Detector,
    band: Band,
    exptime: float,
    rng: np.random.Generator,
    *,
    level: float = 25_000.0,
    dust_shift: tuple[float, float] = (0.0, 0.0),
) -> RawFrame:
    """Expose `exptime` seconds on an even sky that gives `level` ADU above bias at the centre."""
    camera = detector.camera
    electrons = np.full(camera.shape, level * camera.gain, np.float32)
    illuminate(electrons, detector, band, dust_shift=dust_shift)
    detector.add_dark(electrons, exptime)
    data = read_out(electrons, detector, rng)
    return RawFrame(data, masks={"saturated": _saturated(data, detector)})


def take_light(
    detector: Detector,
    sources: Table,
    wcs: WCS,
    band: Band,
    exptime: float,
    rng: np.random.Generator,
    *,
    conditions: Conditions = Conditions(),
) -> RawFrame:
    """Expose on the sky.

    Parameters
    ----------
    detector : Detector
        Of `toros.sim.camera.build_detector`.
    sources : Table
        Of `toros.sim.sky.sky_field`.
    wcs : WCS
        Where the telescope really looks, of `toros.sim.sky.camera_wcs`.
    band : Band
        Filter.
    exptime : float
        Seconds.
    rng : Generator
        Noise, cosmic rays and satellites draw from generators of their own: with and without a
        satellite, say, the noise of all other pixels is the same.
    conditions : Conditions
        Seeing, clouds, moon, guiding.

    Returns
    -------
    RawFrame
        With truth and masks.
    """
    noise, chance, passage = rng.spawn(3)
    camera = detector.camera
    psf = Psf(
        conditions.seeing / camera.pixel_scale,
        ellipticity=conditions.ellipticity,
        angle=conditions.trail_angle,
    )
    zero_point = band.zero_point - conditions.extinction
    sky = exptime * 10 ** (0.4 * (band.zero_point - band.sky + conditions.moonlight)) * camera.pixel_scale**2
    located = locate(sources, wcs, camera, band)
    located["flux"] = exptime * 10 ** (0.4 * (zero_point - located["mag"]))

    electrons = _sky_plane(camera.shape, sky, conditions.sky_gradient)
    _add_sources(electrons, located, camera, psf)
    masks = {}
    if conditions.satellite:
        masks["satellite"] = _add_satellite(electrons, psf.fwhm, sky + camera.read_noise**2, passage)
    illuminate(electrons, detector, band, dust_shift=conditions.dust_shift)
    detector.add_dark(electrons, exptime)
    masks["cosmic_rays"] = _add_cosmic_rays(electrons, camera, exptime, conditions, chance)
    data = read_out(electrons, detector, noise)
    masks["saturated"] = _saturated(data, detector)

    ny, nx = camera.shape
    x, y = located["x"], located["y"]
    truth = located[(x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)]
    truth.meta = {
        "filter": band.name,
        "exptime": exptime,
        "zero_point": zero_point,
        "fwhm": psf.fwhm,
        "sky": sky,
        "gain": camera.gain,
    }
    return RawFrame(data, truth, masks)


def illuminate(
    electrons: NDArray[np.float32],
    detector: Detector,
    band: Band,
    *,
    dust_shift: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Multiply a plane of light by what a flat field shows, in place.

    Vignetting, a tilt and dust rings that belong to the filter, and each pixel's response; 1 at the
    centre. A plane of ones becomes the true flat.
    """
    camera = detector.camera
    ny, nx = camera.shape
    rng = np.random.default_rng([camera.seed, crc32(band.name.encode())])
    tilt_y, tilt_x = rng.normal(0.0, 0.01, 2)
    y, x = np.linspace(-1, 1, ny, dtype=np.float32), np.linspace(-1, 1, nx, dtype=np.float32)
    along_y = 1 + np.float32(tilt_y) * y - np.float32(camera.vignetting / 2) * y**2
    along_x = np.float32(tilt_x) * x - np.float32(camera.vignetting / 2) * x**2
    for rows in _row_bands(electrons):
        shade = along_y[rows, None] + along_x
        shade *= detector.response[rows]
        electrons[rows] *= shade
    for _ in range(camera.dust_specks):
        centre = rng.uniform(0, ny) + dust_shift[0], rng.uniform(0, nx) + dust_shift[1]
        _shade_ring(electrons, centre, radius=rng.uniform(12, 45), depth=rng.uniform(0.01, 0.04))


def read_out(
    electrons: NDArray[np.float32], detector: Detector, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Turn expected electrons into the raw frame: overflow, shot noise, read noise, bias, conversion.

    Parameters
    ----------
    electrons : float32 array, camera.shape
        Expected electrons; used up.
    detector : Detector
        The chip.
    rng : Generator
        Source of noise.

    Returns
    -------
    uint16 array, camera.raw_shape
        ADU, cut at 0 and 65535.
    """
    camera, geometry = detector.camera, detector.geometry
    bleed(electrons, camera.full_well)
    for amplifier in geometry.amplifiers:
        _add_noise(electrons[amplifier.target], amplifier.read_noise, rng)
    extra = detector.noisy_extra * rng.standard_normal(detector.noisy.size, dtype=np.float32)
    electrons.reshape(-1)[detector.noisy] += extra

    raw = np.empty(camera.raw_shape, np.uint16)
    height = camera.shape[0] // camera.amplifiers[0]
    for end in range(height, camera.shape[0], height + camera.gap):
        _read_empty(raw[end : end + camera.gap], camera.bias_level, camera.read_noise / camera.gain, rng)
    drift = camera.bias_drift * rng.standard_normal(len(geometry.amplifiers))
    for amplifier, level in zip(
        geometry.amplifiers, camera.bias_level + drift + detector.bias_amplifiers, strict=True
    ):
        rows, columns = amplifier.target
        bias = (detector.bias_rows[rows] + np.float32(level))[:, None]
        _digitise(
            raw[amplifier.data],
            electrons[amplifier.target],
            amplifier.gain,
            bias,
            detector.bias_columns[columns],
        )
        if amplifier.overscan is not None:
            _read_empty(raw[amplifier.overscan], bias, amplifier.read_noise / amplifier.gain, rng)
    return raw


def _sky_plane(shape: tuple[int, int], level: float, gradient: float) -> NDArray[np.float32]:
    """Return an even sky of `level` electrons with a slope of `gradient` from the bottom to the top."""
    along_y = level * (1 + gradient * np.linspace(-0.5, 0.5, shape[0]))
    sky = np.empty(shape, np.float32)
    sky[:] = along_y[:, None]
    return sky


def _add_sources(electrons: NDArray[np.float32], located: Table, camera: SimulatedCamera, psf: Psf) -> None:
    x, y, flux = (np.asarray(located[column]) for column in ("x", "y", "flux"))
    extended = np.asarray(located["kind"]) == "galaxy"
    add_stars(electrons, x[~extended], y[~extended], flux[~extended], psf)
    galaxies = located[extended]
    add_galaxies(
        electrons,
        x[extended],
        y[extended],
        flux[extended],
        half_light_radius=np.asarray(galaxies["half_light_radius"]) / camera.pixel_scale,
        axis_ratio=np.asarray(galaxies["axis_ratio"]),
        angle=np.asarray(galaxies["angle"]),
        sersic_index=np.asarray(galaxies["sersic_index"]),
        psf=psf,
    )


def _add_satellite(
    electrons: NDArray[np.float32], fwhm: float, variance: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Add a trail whose ridge stands 5 to 50 sigma above the sky; return the pixels it touches."""
    ridge = np.sqrt(variance) * rng.uniform(5, 50)
    where, charge = satellite_trail(electrons.shape, ridge * fwhm, fwhm, rng)
    return _add_at(electrons, where, charge)


def _add_cosmic_rays(
    electrons: NDArray[np.float32],
    camera: SimulatedCamera,
    exptime: float,
    conditions: Conditions,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Add the tracks of an exposure; return the pixels they hit."""
    area = electrons.size * (camera.pixel_size * 1e-4) ** 2
    expected = conditions.cosmic_ray_rate * area * exptime / 60
    where, charge = cosmic_rays(electrons.shape, camera.pixel_size, expected, rng)
    return _add_at(electrons, where, charge)


def _add_at(
    electrons: NDArray[np.float32], where: NDArray[np.intp], charge: NDArray[np.float32]
) -> NDArray[np.bool_]:
    electrons.reshape(-1)[where] += charge
    mask = np.zeros(electrons.shape, bool)
    mask.reshape(-1)[where] = True
    return mask


def _shade_ring(
    plane: NDArray[np.float32], centre: tuple[float, float], *, radius: float, depth: float
) -> None:
    """Darken `plane` by a speck of dust out of focus: a ring with a lighter middle, as the pupil is."""
    top, left = (max(0, int(c - radius - 6)) for c in centre)
    window = plane[top : max(0, int(centre[0] + radius + 7)), left : max(0, int(centre[1] + radius + 7))]
    y, x = np.ogrid[: window.shape[0], : window.shape[1]]
    r = np.hypot(y + top - centre[0], x + left - centre[1])
    disc = 1 / (1 + np.exp(np.clip((r - radius) / 1.2, -30, 30)))
    hole = 1 / (1 + np.exp(np.clip((r - 0.35 * radius) / 1.2, -30, 30)))
    window *= (1 - depth * (disc - hole)).astype(np.float32)


def _add_noise(electrons: NDArray[np.float32], read_noise: float, rng: np.random.Generator) -> None:
    """Replace expected electrons by electrons counted with `read_noise`, in place."""
    for rows in _row_bands(electrons):
        block = electrons[rows]
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        few = (block < _FEW_ELECTRONS) & (block > 0)
        sigma = np.where(few, np.float32(0), block)
        sigma += np.float32(read_noise**2)
        np.sqrt(sigma, out=sigma)
        if few.any():
            block[few] = rng.poisson(block[few])
        noise *= sigma
        block += noise


def _digitise(
    raw: NDArray[np.uint16],
    electrons: NDArray[np.float32],
    gain: float,
    bias: NDArray[np.float32],
    bias_columns: NDArray[np.float32],
) -> None:
    """Write electrons (noise included) into their section of the raw frame, in ADU over the bias."""
    for rows in _row_bands(electrons):
        adu = electrons[rows] / np.float32(gain)
        adu += bias[rows]
        adu += bias_columns
        raw[rows] = _converted(adu)


def _read_empty(
    raw: NDArray[np.uint16], bias: NDArray[np.float32] | float, noise_adu: float, rng: np.random.Generator
) -> None:
    """Write pixels that hold no charge into a section of the raw frame."""
    adu = rng.standard_normal(raw.shape, dtype=np.float32)
    adu *= np.float32(noise_adu)
    adu += np.float32(bias)
    raw[:] = _converted(adu)


def _converted(adu: NDArray[np.float32]) -> NDArray[np.uint16]:
    np.rint(adu, out=adu)
    np.clip(adu, 0, ADU_MAX, out=adu)
    return adu.astype(np.uint16)


def _saturated(raw: NDArray[np.uint16], detector: Detector) -> NDArray[np.bool_]:
    """Return the pixels of the trimmed frame at the end of the converter's range or at the full well."""
    mask = np.empty(detector.camera.shape, bool)
    for amplifier in detector.geometry.amplifiers:
        full = detector.camera.bias_level + detector.camera.full_well / amplifier.gain
        np.greater_equal(raw[amplifier.data], min(ADU_MAX, 0.99 * full), out=mask[amplifier.target])
    return mask


def _row_bands(plane: NDArray[np.float32]) -> Iterator[slice]:
    ny, nx = plane.shape
    height = max(1, _BAND_PIXELS // nx)
    for start in range(0, ny, height):
        yield slice(start, start + height)
