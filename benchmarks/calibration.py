"""Calibrating one science frame, raw read included."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.unit import Bench, Case, Work, write_fits

_GAIN, _READ_NOISE, _EXPOSURE = 1.5, 8.0, 60.0


@cache
def _masters(size: int) -> tuple[NDArray[np.float32], ...]:
    rng = np.random.default_rng(1)
    bias = rng.normal(1000, 2, (size, size)).astype(np.float32)
    dark = rng.gamma(2, 0.01, (size, size)).astype(np.float32)
    flat = rng.normal(1, 0.02, (size, size)).astype(np.float32)
    return bias, dark, flat


def _write_raw(bench: Bench) -> None:
    bias, dark, flat = _masters(bench.size)
    rng = np.random.default_rng(2)
    electrons = rng.normal(600 * flat, 25, bench.shape) + dark * _EXPOSURE * _GAIN
    write_fits(bench.folder / "raw.fits", np.rint(electrons / _GAIN + bias).astype(np.uint16))


def _calibrate(bench: Bench) -> Work:
    from toros.science.calibrate import calibrate
    from toros.science.geometry import Geometry
    from toros.store.fits_file import inspect

    _write_raw(bench)
    bias, dark, flat = _masters(bench.size)
    bad_pixels = np.zeros(bench.shape, np.uint8)
    geometry = Geometry.single(bench.shape, _GAIN, _READ_NOISE)
    return lambda: calibrate(
        inspect(bench.folder / "raw.fits").rows(),
        geometry,
        bias=bias,
        dark=dark,
        dark_scale=_EXPOSURE,
        flat=flat,
        bad_pixels=bad_pixels,
        saturation=60000,
    )


def _ccdproc(bench: Bench) -> Work:
    import astropy.units as u
    import ccdproc
    from astropy.nddata import CCDData

    bias, dark, flat = (
        CCDData(plane, unit=unit)
        for plane, unit in zip(_masters(bench.size), ("adu", "adu", ""), strict=True)
    )

    def run() -> CCDData:
        frame = CCDData.read(bench.folder / "raw.fits", unit="adu")
        frame = ccdproc.subtract_bias(frame, bias)
        frame = ccdproc.create_deviation(
            frame, gain=_GAIN * u.electron / u.adu, readnoise=_READ_NOISE * u.electron, disregard_nan=True
        )
        frame = ccdproc.subtract_dark(
            frame, dark, dark_exposure=1 * u.s, data_exposure=_EXPOSURE * u.s, scale=True
        )
        frame = ccdproc.gain_correct(frame, _GAIN * u.electron / u.adu)
        return ccdproc.flat_correct(frame, flat, norm_value=1)

    return run


CASES = (
    Case(
        "calibrate one frame, with variance and mask", _calibrate, limit=1.5, megabytes=200, library=_ccdproc
    ),
)
