"""Finding the cosmic rays of one calibrated frame, in the simulated sky."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from benchmarks.unit import Bench, Case, Work, Wrong

_TRACKS = 400
_POINTING = (150.0, -30.0)
_SHARP_STARS = 1.15
"""Seeing in arcseconds that makes stars of 2.5 pixels."""


@cache
def _scene(size: int) -> dict[str, NDArray[Any]]:
    """Return data, variance and mask of a frame in electrons, and the charge of its cosmic rays."""
    from toros.science.flags import PixelFlag
    from toros.sim import (
        Conditions,
        azulcito,
        build_detector,
        camera_wcs,
        sky_field,
        take_light,
        without_flaws,
    )
    from toros.sim.artefacts import cosmic_rays

    rng = np.random.default_rng(3)
    camera = without_flaws(azulcito((size, size)))
    wcs = camera_wcs(camera, *_POINTING)
    sources = sky_field(*_POINTING, radius=0.75 * size * camera.pixel_scale / 3600)
    conditions = Conditions(seeing=_SHARP_STARS, cosmic_ray_rate=0.0)
    frame = take_light(
        build_detector(camera), sources, wcs, camera.band("R"), 60.0, rng, conditions=conditions
    )
    data = (frame.data.astype(np.float32) - np.float32(camera.bias_level)) * np.float32(camera.gain)
    charge = np.zeros(data.size, np.float32)
    where, electrons = cosmic_rays(camera.shape, camera.pixel_size, _TRACKS * data.size / 4096**2, rng)
    charge[where] = electrons
    data += charge.reshape(data.shape)
    variance = np.maximum(data, 0) + np.float32(camera.read_noise**2)
    return {
        "data": data,
        "variance": variance,
        "mask": frame.masks["saturated"] * np.uint8(PixelFlag.SATURATED),
        "charge": charge.reshape(data.shape),
    }


def _own(bench: Bench) -> Work:
    from toros.science.cosmic_rays import find_cosmic_rays

    scene = _scene(bench.size)
    return lambda: find_cosmic_rays(scene["data"], scene["variance"], scene["mask"])


def _astroscrappy(bench: Bench) -> Work:
    from astroscrappy import detect_cosmics

    scene = _scene(bench.size)
    options = {"sigclip": 6.0, "objlim": 5.0, "gain": 1.0, "readnoise": 10.0, "satlevel": np.inf}
    return lambda: detect_cosmics(
        scene["data"], inmask=scene["mask"] != 0, niter=1, cleantype="medmask", **options
    )


def _recall(found: NDArray[np.bool_]) -> str:
    """Count the pixels of tracks that stand out by 5 sigma, and what was found beside all tracks."""
    scene = _scene(found.shape[0])
    noise = np.sqrt(np.maximum(scene["variance"] - scene["charge"], 1))
    true = (scene["charge"] > 5 * noise) & (scene["mask"] == 0)
    recall = np.count_nonzero(found & true) / np.count_nonzero(true)
    beside = ~binary_dilation(scene["charge"] > 0, np.ones((3, 3)), iterations=2)
    false = np.count_nonzero(found & beside)
    if recall < 0.99 or false >= 20:
        raise Wrong(f"recall {recall:.4f} with {false} false pixels; at least 0.99 with less than 20")
    return f"recall {recall:.4f} of {np.count_nonzero(true)} px, {false} false px"


CASES = (
    Case(
        "cosmic rays of one frame",
        _own,
        limit=4,
        megabytes=200,
        library=_astroscrappy,
        remark=_recall,
    ),
)
