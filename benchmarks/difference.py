"""A reference in better seeing, subtracted from a science frame, beside the textbook's way and ZOGY."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.unit import Bench, Case, Work, Wrong

_SEEING = {"science": 1.5, "reference": 1.3}
_EXPTIME = 60.0
_NEW = 100
_SNR = 10.0
"""Of what is new, in the science frame alone: some 8 in the difference with a reference as noisy."""

_MATCH = 2.0
_NEAR_SATURATED = 25.0
_CROP = 512
_GAUSSIANS = ((0.7, 6), (1.5, 4), (3.0, 2))
"""Widths (px) and orders of the polynomials of Alard & Lupton's basis, as hotpants has them."""


@cache
def _scene(size: int) -> dict[str, Any]:
    """Return both frames, their sources and profiles, and what is new in the science frame, half of it on galaxies."""
    from toros.science.image import Image
    from toros.science.psf import draw
    from toros.science.sources import measure_sources
    from toros.sim import azulcito, build_detector, camera_wcs, sky_field, without_flaws

    camera = without_flaws(azulcito((size, size)))
    sources = sky_field(150.0, -30.0, 0.75 * size * camera.pixel_scale / 3600)
    detector, wcs = build_detector(camera), camera_wcs(camera, 150.0, -30.0)
    frames, truths = {}, {}
    for seed, (name, seeing) in enumerate(_SEEING.items()):
        frames[name], truths[name] = _exposed(detector, sources, wcs, seeing, seed)
    before = {name: measure_sources(image.data, image.mask, image.variance) for name, image in frames.items()}
    psf = before["science"].psf
    x, y = _places(truths["science"], size)
    image = frames["science"]
    here = tuple(np.rint([y, x]).astype(int))
    flux = _SNR * np.sqrt(image.variance[here] * psf.noise_area) + _SNR**2 / 2
    light = np.zeros(image.shape, np.float32)
    draw(light, psf, x, y, flux, 0.1)
    light = np.random.default_rng(9).poisson(light).astype(np.float32)
    frames["science"] = Image(image.data + light, image.variance + light, image.mask)
    return {"frames": frames, "before": before, "x": x, "y": y}


def _exposed(detector: Any, sources: Any, wcs: Any, seeing: float, seed: int) -> tuple[Any, Any]:
    from toros.science.flags import PixelFlag
    from toros.science.image import Image
    from toros.sim import Conditions, illuminate, take_light

    camera = detector.camera
    band, rng = camera.band("R"), np.random.default_rng(seed + 1)
    conditions = Conditions(seeing=seeing, cosmic_ray_rate=0.0, extinction=0.1 * seed)
    frame = take_light(detector, sources, wcs, band, _EXPTIME, rng, conditions=conditions)
    data = (frame.data.astype(np.float32) - np.float32(camera.bias_level)) * np.float32(camera.gain)
    flat = np.ones(camera.shape, np.float32)
    illuminate(flat, detector, band)
    variance = (np.maximum(data, 0) + np.float32(camera.read_noise**2)) / flat**2
    data = (data - np.float32(camera.dark_current * _EXPTIME)) / flat
    return Image(data, variance, frame.masks["saturated"] * np.uint8(PixelFlag.SATURATED)), frame.truth


def _places(truth: Any, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(5)
    galaxies = truth[np.asarray(truth["kind"]) == "galaxy"]
    chosen = rng.choice(len(galaxies), min(_NEW // 2, len(galaxies)), replace=False)
    x, y = (
        np.append(galaxies[axis][chosen] + 1.0, rng.uniform(0, size, _NEW - chosen.size)) for axis in "xy"
    )
    inside = (np.minimum(x, y) > 30) & (np.maximum(x, y) < size - 30)
    return x[inside], y[inside]


def _given(scene: dict[str, Any]) -> tuple[Any, ...]:
    frames, before = scene["frames"], scene["before"]
    return (
        frames["science"],
        frames["reference"],
        before["science"].sources,
        before["science"].psf,
        before["reference"].psf,
    )


def _own(bench: Bench) -> Work:
    from toros.science.difference import subtract

    given = _given(_scene(bench.size))
    subtract(*given)  # compiles
    return lambda: subtract(*given)


def _zogy(bench: Bench) -> Work:
    from toros.science.zogy import subtract_zogy

    given = _given(_scene(bench.size))
    return lambda: subtract_zogy(*given)


def _worth(difference: Any) -> str:
    """Say what is left of the sky and of stars, what was found of what is new, and what else."""
    from toros.science.detect import detect

    size = difference.image.shape[0]
    scene, quality = _scene(size), difference.quality
    peaks = detect(difference.normalised(), difference.image.mask, 1.0, fwhm=difference.psf.fwhm)
    places, truth = np.column_stack([peaks.x, peaks.y]), np.column_stack([scene["x"], scene["y"]])
    visible = difference.image.mask[tuple(np.rint(truth[:, ::-1].T).astype(int))] == 0
    found = float(np.mean(cKDTree(places).query(truth[visible])[0] < _MATCH))
    saturated = np.argwhere(scene["frames"]["science"].mask | scene["frames"]["reference"].mask)[:, ::-1]
    false = cKDTree(truth).query(places)[0] > _MATCH
    false &= cKDTree(saturated).query(places)[0] > _NEAR_SATURATED
    chis = quality.chi_sky, quality.chi_faint, quality.chi_bright
    said = f"chi sky {chis[0]:.2f}, S/N 20-100 {chis[1]:.2f}, brighter {chis[2]:.2f} with a model error of "
    said += f"{100 * quality.model_error:.1f} %; {100 * found:.0f} % found, {false.sum()} false"
    fine = 0.95 <= chis[0] <= 1.05 and 0.9 <= chis[1] <= 1.1 and chis[2] < 1.2
    if size == 4096 and not (fine and found >= 0.98 and false.sum() < 30):
        raise Wrong(said)
    return said


def _textbook(bench: Bench) -> Work:
    """Alard & Lupton's basis by fftconvolve and lstsq on a corner of the frame."""
    from scipy.signal import fftconvolve

    science, reference, *_ = _given(_scene(bench.size))
    side = min(_CROP, bench.size)
    crop = (slice(0, side),) * 2
    data, variance = science.data[crop], science.variance[crop] + reference.variance[crop]
    good = (science.mask[crop] | reference.mask[crop]) == 0
    dy, dx = np.mgrid[-7:8, -7:8]
    basis = [
        np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) * dx**i * dy**j / sigma ** (i + j)
        for sigma, order in _GAUSSIANS
        for i in range(order + 1)
        for j in range(order + 1 - i)
    ]
    v, u = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]

    def work() -> None:
        planes = [fftconvolve(reference.data[crop], kernel, mode="same") for kernel in basis]
        columns = [plane * term for plane in planes for term in (np.ones_like(u), u, v)]
        root = 1 / np.sqrt(variance[good])
        design = np.stack([column[good] * root for column in [*columns, np.ones_like(u)]], axis=1)
        solution = np.linalg.lstsq(design[::8], (data[good] * root)[::8], rcond=None)[0]
        data - sum(one * column for one, column in zip(solution, columns, strict=False))

    return work


CASES = (
    Case(
        "kernel, convolution, subtraction, and the numbers to judge it by",
        _own,
        limit=6,
        megabytes=300,
        remark=_worth,
    ),
    Case(f"... textbook: fftconvolve and lstsq, a corner of {_CROP} x {_CROP} only", _textbook),
    Case("... ZOGY, profiles followed over the frame", _zogy, remark=_worth),
)
