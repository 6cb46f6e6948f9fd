"""Differences of simulated frames whose changes are known: what a real/bogus classifier is trained and judged with.

Every scene has a camera, a seeing and a crowd of its own. What a subtraction leaves is in them: dipoles of stars that
are not quite aligned, rings of a kernel that does not quite fit, cores of galaxies, and what falls on one frame only -
cosmic rays, hot pixels, satellites. In some scenes reference and science frame have one seeing and are subtracted as
they are; in the others they have two, and `toros.science.difference.subtract` matches them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.science.candidate_features import candidate_features
from toros.science.candidates import find_candidates
from toros.science.difference import subtract
from toros.science.flags import MaskPlane, PixelFlag, is_flagged, raise_flag
from toros.science.image import Image
from toros.science.injection import Injections, inject, plan_injections
from toros.science.psf import Psf as FittedPsf
from toros.science.psf import guess_psf
from toros.science.shapes import StarShape
from toros.science.sources import SourceFlag
from toros.sim.artefacts import cosmic_rays, satellite_trail
from toros.sim.difference_weather import Weather, draw_weather, in_other_seeing
from toros.sim.psf import Psf, add_galaxies, add_stars

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

SHAPE = (512, 512)
"""Of a scene of a training set, px."""

_STAR_SLOPE = 0.3
_FAINTEST = 2.0
_BRIGHTEST = 2e4
"""Stars from so many sigma up to so many, with counts of a slope of 0.3 in the logarithm per magnitude."""

_GALAXIES = 0.25
"""Galaxies per star."""

_SNR = (3.0, 100.0)
"""Of the injected changes, at a good place: evenly in the logarithm."""

_FADED = 0.2
"""Part of the changes that have faded: they are in the reference."""

_SAME = 0.7
_APART = 1.5
"""A candidate within so many FWHM of a change is that change; from so many on it has nothing to do with it."""

_OWN_LIGHT = 0.5
"""A candidate with less of its light from the change than this part has more of something else."""

_FAINTEST_MATCHED = 5.0
"""Sources from so many sigma on are in the catalogue that the kernel is fitted with."""


@dataclass(frozen=True, eq=False)
class DifferenceScene:
    """A science frame, its reference, their difference, and what has truly changed.

    Parameters
    ----------
    science, reference, difference : Image
        Electron, without sky.
    psf : toros.science.psf.Psf
        Of the difference.
    sources : QTable
        Of the reference: x, y, fwhm (px), flux_psf (electron), ellipticity, angle (deg), flags (`SourceFlag`).
    changes : Injections
        What has brightened, and with negative flux what has faded.
    noise : float
        Standard deviation of a pixel of empty sky in the difference, electron; where a frame was convolved, of
        independent pixels in which point sources would be as uncertain.
    """

    science: Image
    reference: Image
    difference: Image
    psf: FittedPsf
    sources: QTable
    changes: Injections
    noise: float


def difference_scene(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int] = SHAPE,
    changes: int = 60,
    matched: bool = False,
) -> DifferenceScene:
    """Draw a scene.

    Parameters
    ----------
    rng : Generator
        Decides everything.
    shape : (int, int)
        Of the frames, (ny, nx).
    changes : int
        Injected changes, half of them on galaxies.
    matched : bool
        Whether the frames differ in seeing, and are matched.
    """
    weather = draw_weather(rng, shape)
    if matched:
        weather = in_other_seeing(rng, weather, shape)
    psf = _fitted_psf(shape, weather.psf)
    science_psf = _fitted_psf(shape, weather.science_psf) if matched else psf
    broader = max(psf, science_psf, key=lambda each: each.fwhm)
    sources = _draw_sources(rng, weather, shape)
    reference_light, science_light = _light(sources, weather, shape, rng)
    mask = np.zeros(shape, np.uint8)
    for light in (reference_light, science_light):
        raise_flag(mask, light + weather.sky > weather.saturation, PixelFlag.SATURATED)
    for row, column in rng.integers(0, shape, (20, 2)):
        mask[row, column] = PixelFlag.HOT
    limits = tuple(snr * weather.noise * broader.noise_area**0.5 for snr in _SNR)
    plan = plan_injections(rng, sources, mask, broader, changes, (limits[0], limits[1]))
    faded = rng.random(len(plan)) < _FADED
    science = _exposed(science_light, weather, mask, rng, frames=1)
    reference = _exposed(reference_light, weather, mask, rng, frames=weather.reference_frames)
    unit = weather.scale if matched else 1.0
    inject(science, science_psf, plan.x[~faded], plan.y[~faded], plan.flux[~faded], rng)
    inject(reference, psf, plan.x[faded], plan.y[faded], plan.flux[faded] / unit, rng)
    _spoil(science.data, weather, rng)
    truth = replace(plan, flux=np.where(faded, -plan.flux, plan.flux))
    if matched:
        return _matched_scene(science, reference, sources, (science_psf, psf), truth)
    difference = Image(science.data - reference.data, science.variance + reference.variance, mask)
    return DifferenceScene(science, reference, difference, psf, sources, truth, weather.noise)


def labelled_candidates(scene: DifferenceScene) -> tuple[QTable, NDArray[np.float32], NDArray[np.bool_]]:
    """Return the candidates of a scene, their features, and which of them are real.

    Those of which that cannot be said are left out: too near a change for having nothing to do with it and not at
    its place, or at its place but with less than half of their light from it.
    """
    candidates = find_candidates(scene.difference, scene.psf)
    features = candidate_features(
        scene.science, scene.reference, scene.difference, candidates, scene.sources, scene.psf
    )
    places = np.column_stack([candidates["x"].value, candidates["y"].value])
    truth = cKDTree(np.column_stack([scene.changes.x, scene.changes.y]))
    distance, change = truth.query(places, distance_upper_bound=_APART * scene.psf.fwhm)
    near = np.isfinite(distance)
    own = np.zeros(len(candidates))
    own[near] = scene.changes.flux[change[near]] / candidates["flux"].value[near]
    real = (distance < _SAME * scene.psf.fwhm) & (own > _OWN_LIGHT)
    known = real | ~near
    return candidates[known], features[known], real[known]


def simulated_training_set(
    seed: int, scenes: int, *, shape: tuple[int, int] = SHAPE
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return features and labels of the candidates of many scenes, in every second of which the frames were matched.

    Parameters
    ----------
    seed : int
        Another seed is another set, with no scene in common.
    scenes : int
        Some 50 real and 100 bogus candidates come from each.
    shape : (int, int)
        Of the scenes.

    Returns
    -------
    features : ndarray of float32, shape (n, k)
    labels : ndarray of bool, shape (n,)
        True for injected changes, which every other candidate is not.
    """
    sets = [
        labelled_candidates(
            difference_scene(np.random.default_rng([seed, number]), shape=shape, matched=number % 2 == 1)
        )
        for number in range(scenes)
    ]
    return np.concatenate([part[1] for part in sets]), np.concatenate([part[2] for part in sets])


def _fitted_psf(shape: tuple[int, int], profile: Psf) -> FittedPsf:
    """Return a profile as if it had been measured."""
    fwhm = profile.fwhm / math.sqrt(1 - profile.ellipticity)  # of one axis, and of both
    return guess_psf(shape, StarShape(fwhm, profile.ellipticity, profile.angle, 0))


def _matched_scene(
    science: Image,
    reference: Image,
    sources: QTable,
    psfs: tuple[FittedPsf, FittedPsf],
    changes: Injections,
) -> DifferenceScene:
    """Subtract the reference as the pipeline does; `psfs` are those of both frames."""
    unit = math.sqrt(float(np.median(science.variance)) * psfs[0].noise_area)
    bright = sources[sources["flux_psf"] > _FAINTEST_MATCHED * unit]
    row, column = (
        np.rint(bright[axis]).astype(int).clip(0, length - 1)
        for axis, length in zip("yx", science.shape, strict=True)
    )
    saturated = is_flagged(science.mask[row, column] | reference.mask[row, column], PixelFlag.SATURATED)
    stars = QTable(
        {
            "x": bright["x"],
            "y": bright["y"],
            "snr": bright["flux_psf"] / unit,
            "flags": bright["flags"] | saturated * np.int32(SourceFlag.SATURATED),
        }
    )
    made = subtract(science, reference, stars, *psfs)
    image, scale = made.image, made.quality.scale
    image = replace(image, variance=image.variance * np.float32(made.noise_factor**2))
    reference = Image(
        reference.data * np.float32(scale), reference.variance * np.float32(scale**2), reference.mask
    )
    noise = math.sqrt(float(np.median(image.variance)))
    return DifferenceScene(science, reference, image, made.psf, sources, changes, noise)


def _draw_sources(rng: np.random.Generator, weather: Weather, shape: tuple[int, int]) -> QTable:
    """Draw stars and galaxies, with what a catalogue would say of them."""
    galaxies = int(_GALAXIES * weather.stars)
    count = weather.stars + galaxies
    unit = weather.noise * guess_psf(shape, StarShape(weather.psf.fwhm, 0, 0, 0)).noise_area ** 0.5
    slope = 2.5 * _STAR_SLOPE
    least = (_FAINTEST / _BRIGHTEST) ** slope
    snr = _FAINTEST * rng.uniform(least, 1, count) ** (-1 / slope)
    is_galaxy = np.arange(count) >= weather.stars
    snr[is_galaxy] = 10 ** rng.uniform(1, 3, galaxies)
    size = np.where(is_galaxy, weather.psf.fwhm * rng.lognormal(0, 0.4, count), 0)
    ratio = np.where(is_galaxy, rng.uniform(0.3, 1, count), 1)
    return QTable(
        {
            "x": rng.uniform(0, shape[1], count),
            "y": rng.uniform(0, shape[0], count),
            "flux_psf": snr * unit,
            "fwhm": np.hypot(weather.psf.fwhm, 1.2 * size),
            "ellipticity": np.where(is_galaxy, 0.7 * (1 - ratio), 0),
            "angle": rng.uniform(0, 180, count),
            "half_light_radius": size,
            "axis_ratio": ratio,
            "sersic_index": rng.choice([1.0, 1.0, 2.5], count),
            "flags": is_galaxy * np.int32(SourceFlag.EXTENDED),
        }
    )


def _light(
    sources: QTable, weather: Weather, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Return the light of the reference and of the science frame, without sky or noise."""
    planes = []
    scatter = rng.normal(0, weather.scatter, (2, len(sources)))
    for psf, shift, scale in (
        (weather.psf, np.zeros((2, 1)), 1.0),
        (weather.science_psf, np.reshape(weather.shift, (2, 1)) + scatter, weather.scale),
    ):
        light = np.zeros(shape, np.float32)
        is_galaxy = np.asarray(sources["flags"]) != 0
        x, y = np.stack([sources["x"], sources["y"]]) + shift
        flux = np.asarray(sources["flux_psf"]) * scale
        add_stars(light, x[~is_galaxy], y[~is_galaxy], flux[~is_galaxy], psf)
        profile = {
            name: np.asarray(sources[name])[is_galaxy]
            for name in ("half_light_radius", "axis_ratio", "angle", "sersic_index")
        }
        add_galaxies(light, x[is_galaxy], y[is_galaxy], flux[is_galaxy], psf=psf, **profile)
        planes.append(light)
    return planes[0], planes[1]


def _exposed(
    light: Plane, weather: Weather, mask: MaskPlane, rng: np.random.Generator, *, frames: int
) -> Image:
    """Return the mean of some frames, their sky subtracted."""
    expected = np.maximum(light, 0) + np.float32(weather.sky)
    noise = rng.normal(0, weather.read_noise / math.sqrt(frames), light.shape)
    data = rng.poisson(expected * frames) / frames + noise
    variance = (np.maximum(data, 0) + weather.read_noise**2) / frames
    data = np.minimum(data, weather.saturation) - weather.sky
    return Image(data.astype(np.float32), variance.astype(np.float32), mask.copy())


def _spoil(data: Plane, weather: Weather, rng: np.random.Generator) -> None:
    """Add what nobody flagged: cosmic rays, hot pixels, at times a satellite."""
    shape = data.shape[0], data.shape[1]
    pixels = data.size / SHAPE[0] / SHAPE[1]
    where, charge = cosmic_rays(shape, 9.0, 12 * pixels, rng)
    data.reshape(-1)[where] += charge
    hot = rng.integers(0, data.size, rng.poisson(10 * pixels))
    data.reshape(-1)[hot] += (weather.noise * 10 ** rng.uniform(0.7, 2, hot.size)).astype(np.float32)
    if rng.random() < 0.3:
        brightness = weather.noise * weather.psf.fwhm * 10 ** rng.uniform(0.2, 1.5)
        where, charge = satellite_trail(shape, brightness, weather.psf.fwhm, rng)
        data.reshape(-1)[where] += charge
