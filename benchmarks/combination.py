"""Combining calibration frames into a master."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.unit import Bench, Case, Work, Wrong, write_fits

_FRAMES = 20
_TOROS = 10560
_LEVEL, _NOISE = 1000.0, 7.0


def _write_frames(folder: Path, size: int, count: int) -> list[Path]:
    """Write bias frames: a column pattern, read noise, and some cosmic rays."""
    rng = np.random.default_rng(1)
    pattern = _LEVEL + rng.normal(0, 3, size)
    noise = rng.normal(0, _NOISE, (256, size)).astype(np.float32)
    paths = []
    for number in range(count):
        frame = np.empty((size, size), np.uint16)
        for top in range(0, size, 256):
            shifted = np.roll(noise.reshape(-1), rng.integers(0, noise.size)).reshape(noise.shape)[
                : size - top
            ]
            frame[top : top + 256] = np.rint(pattern + shifted)
        frame.reshape(-1)[rng.integers(0, frame.size, 1000)] += 3000
        paths.append(folder / f"bias-{number:03d}.fits")
        write_fits(paths[-1], frame)
    return paths


def _combine(method: str, count: int = _FRAMES) -> Any:
    def prepare(bench: Bench) -> Work:
        from toros.science.combine import combine
        from toros.store.fits_file import inspect

        paths = _write_frames(bench.folder, bench.size, count)
        return lambda: combine([inspect(path).rows() for path in paths], method).data

    return prepare


def _stream_toros(bench: Bench) -> Work:
    """Combine full TOROS frames into a file, without ever holding the master."""
    from toros.science.combine import combine_rows
    from toros.store.fits_file import inspect

    paths = _write_frames(bench.folder, _TOROS, _FRAMES)

    def run() -> None:
        with (bench.folder / "master.raw").open("wb") as sink:
            for tile in combine_rows([inspect(path).rows() for path in paths], method="clipped_mean"):
                tile.data.tofile(sink)

    return run


def _ccdproc(**options: Any) -> Any:
    def prepare(bench: Bench) -> Work:
        import ccdproc

        paths = sorted(str(path) for path in bench.folder.glob("bias-*.fits"))
        return lambda: ccdproc.combine(paths, unit="adu", dtype=np.float32, mem_limit=1e9, **options)

    return prepare


def _ccdproc_clipped(bench: Bench) -> Work:
    from astropy.stats import mad_std

    clip = {"sigma_clip_low_thresh": 4, "sigma_clip_high_thresh": 4}
    functions = {"sigma_clip_func": np.ma.median, "sigma_clip_dev_func": mad_std}
    return _ccdproc(method="average", sigma_clip=True, **clip, **functions)(bench)


def _error(master: NDArray[np.float32]) -> str:
    """Compare with the level of each column, known from all its pixels."""
    error = float(np.std(master - np.median(master, axis=0)))
    expected = _NOISE / np.sqrt(_FRAMES)
    if not 0.9 * expected < error < 1.4 * expected:
        raise Wrong(f"the noise of the master is {error:.2f} ADU, not about {expected:.2f}")
    return f"noise {error:.2f} ADU, mean would be {expected:.2f}"


CASES = (
    Case(
        f"exact median of {_FRAMES} frames, with error",
        _combine("median"),
        limit=10,
        megabytes=150,
        library=_ccdproc(method="median"),
        remark=_error,
    ),
    Case(
        f"clipped mean of {_FRAMES} frames, with error",
        _combine("clipped_mean"),
        limit=22,
        megabytes=200,
        library=_ccdproc_clipped,
        remark=_error,
    ),
    Case(
        f"clipped mean of {_FRAMES} frames of {_TOROS}x{_TOROS} into a file",
        _stream_toros,
        limit=22 * (_TOROS / 4096) ** 2,
        megabytes=1000,
        large=True,
    ),
)
