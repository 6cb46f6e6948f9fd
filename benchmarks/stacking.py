"""Ten frames of one field, shifted and turned a little, beside ccdproc on frames that are aligned already."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from benchmarks.unit import Bench, Case, Work, Wrong

_FRAMES = 10
_SKY, _READ_NOISE = 200.0, 10.0


@cache
def _frames(size: int) -> list[Any]:
    """Return frames of stars and sky, with what a stack needs to know about them."""
    from toros.science.background import estimate_background
    from toros.science.calibrate import variance_of
    from toros.science.resample import Polynomial, pixel_map
    from toros.science.stack import StackFrame
    from toros.sim import Psf, add_stars

    rng = np.random.default_rng(4)
    count = size**2 // 20_000
    x, y = rng.uniform(0, size, (2, count))
    flux = 300 * 1000 ** rng.random(count)
    frames = []
    for number in range(_FRAMES):
        turn, shift = 0.0005 * rng.normal(), rng.uniform(-15, 15, 2)
        coefficients = np.array([shift, [np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        transform = Polynomial((0.0, 0.0), 1.0, coefficients)
        light = np.full((size, size), _SKY, np.float32)
        add_stars(light, *transform(x, y), flux, Psf(3.0 + 0.1 * number))
        light += rng.standard_normal(light.shape, np.float32) * np.sqrt(light + np.float32(_READ_NOISE**2))
        mask = (rng.random(light.shape, np.float32) < 1e-4).astype(np.uint8)
        frames.append(
            StackFrame(
                light,
                mask,
                lambda data, rows: variance_of(data, read_noise=_READ_NOISE),
                pixel_map(transform, (size, size)),
                estimate_background(light),
                fwhm=3.0 + 0.1 * number,
            )
        )
    return frames


def _own(bench: Bench) -> Work:
    from toros.science.stack import stack

    frames = _frames(bench.size)
    return lambda: stack(frames)


def _worth(result: Any) -> str:
    inner = np.s_[100:-100:3, 100:-100:3]
    chi = (result.image.data / np.sqrt(result.image.variance))[inner]
    noise = float(1.4826 * np.median(np.abs(chi - np.median(chi))))
    remark = (
        f"noise of the sky, measured over stated: {noise:.3f}; clipped {100 * result.clipped.mean():.3f} %"
    )
    if not 0.95 < noise < 1.05:
        raise Wrong(remark)
    return remark


def _combined(bench: Bench) -> Work:
    """Clip and average with ccdproc, as its manual does."""
    from astropy.nddata import CCDData
    from ccdproc import Combiner

    frames = [CCDData(frame.data, unit="electron") for frame in _frames(bench.size)]

    def work() -> Any:
        combiner = Combiner(frames, dtype=np.float32)
        combiner.sigma_clipping(low_thresh=4, high_thresh=4, func=np.ma.median)
        return combiner.average_combine()

    return work


CASES = (
    Case(
        f"align and stack {_FRAMES} frames",
        _own,
        limit=8 * _FRAMES,
        megabytes=450,
        remark=_worth,
    ),
    Case(f"... ccdproc: clip and average {_FRAMES} frames that are aligned", _combined),
)
