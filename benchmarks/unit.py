"""The unit of every benchmark, and the meter that measures a case in it.

U is the time to read a 4096x4096 uint16 FITS frame, convert it to float32 and write it, with plain numpy,
in the same process as the case and between its runs. With ``--quick`` frames and unit are 1024x1024.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Work = Callable[[], Any]

_LIBC = ctypes.CDLL(None)
_BLOCK = 2880
_RUNS = 5
_LONGEST = 20.0


class Wrong(Exception):
    """The work was done, but its result is not what it must be."""


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Parameters
    ----------
    work : str
        What is done.
    prepare : callable
        Takes the `Bench`, returns the work: a function without arguments that is timed.
    limit : float or None
        U at most.
    megabytes : float or None
        Memory at most, above the inputs that `prepare` holds.
    library : callable, optional
        As `prepare`, for what a user would otherwise run.
    remark : callable, optional
        Takes what the work returned and says in a few words what it is worth; raises `Wrong` if it is wrong.
    large : bool
        Only done with ``--large``.
    """

    work: str
    prepare: Callable[[Bench], Work]
    limit: float | None = None
    megabytes: float | None = None
    library: Callable[[Bench], Work] | None = None
    remark: Callable[[Any], str] | None = None
    large: bool = False


@dataclass(frozen=True)
class Bench:
    """Where a case runs: an empty folder of its own, and the size of its frames."""

    folder: Path
    size: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size


@dataclass(frozen=True)
class Measurement:
    """What a case took, in U and in MB above its inputs."""

    units: float
    megabytes: float | None
    library_units: float | None = None
    remark: str = ""
    right: bool = True


@dataclass
class Peak:
    """Most memory held since the meter started, above what was held then; None where it cannot be told."""

    megabytes: float | None = field(default=None)


def measure(subject: str, index: int, bench: Bench) -> Measurement:
    """Run a case of a subject several times, U beside every run, and its library's counterpart once."""
    case: Case = importlib.import_module(f"benchmarks.{subject}").CASES[index]
    work = case.prepare(bench)
    unit_seconds = UnitOfWork(bench)
    os.sync()  # or the disk would still be busy with the frames of the preparation
    with peak_memory() as peak:
        result = work()
    right = True
    try:
        remark = case.remark(result) if case.remark is not None else ""
    except Wrong as wrong:
        remark, right = str(wrong), False
    del result
    seconds, units = [], [unit_seconds()]
    while len(seconds) < _RUNS and sum(seconds) < _LONGEST:
        seconds.append(_timed(work))
        units.append(unit_seconds())
    unit = statistics.median(units)
    library_units = None
    if case.library is not None:
        library_units = _timed(case.library(bench)) / statistics.median([unit, unit_seconds()])
    return Measurement(statistics.median(seconds) / unit, peak.megabytes, library_units, remark, right)


class UnitOfWork:
    """Measures U: call it for the seconds it takes now."""

    def __init__(self, bench: Bench) -> None:
        self._source, self._target = bench.folder / "unit.fits", bench.folder / "unit_written.fits"
        counts = np.random.default_rng(1).integers(900, 2000, bench.shape).astype(np.uint16)
        write_fits(self._source, counts)

    def __call__(self) -> float:
        return _timed(lambda: write_fits(self._target, read_fits(self._source).astype(np.float32)))


def read_fits(path: Path) -> NDArray[np.uint16]:
    """Read a uint16 image with nothing but numpy."""
    with path.open("rb") as stream:
        header = stream.read(_BLOCK).decode("ascii")
        cards = {
            header[start : start + 8].strip(): header[start + 10 : start + 30]
            for start in range(0, _BLOCK, 80)
        }
        shape = int(cards["NAXIS2"]), int(cards["NAXIS1"])
        stored = np.fromfile(stream, ">i2", shape[0] * shape[1])
    counts = stored.byteswap(inplace=True).view("<u2")
    counts ^= 0x8000  # adds BZERO = 32768
    return counts.reshape(shape)


def write_fits(path: Path, image: NDArray[Any]) -> None:
    """Write a uint16 or float32 image with nothing but numpy."""
    cards = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": image.shape[1], "NAXIS2": image.shape[0]}
    if image.dtype == np.uint16:
        image = (image ^ np.uint16(0x8000)).view(np.int16)
        cards |= {"BITPIX": 16, "BZERO": 32768, "BSCALE": 1}
    text = "".join(f"{key:8s}= {value!s:>20s}".ljust(80) for key, value in cards.items()) + "END"
    with path.open("wb") as stream:
        stream.write(text.ljust(_BLOCK).encode("ascii"))
        image.byteswap().tofile(stream)
        stream.write(b"\0" * (-image.nbytes % _BLOCK))


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Meter the resident memory of this process (Linux only)."""
    gc.collect()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)  # or freed memory of the preparation would serve the work unseen
    peak = Peak()
    reset = Path("/proc/self/clear_refs")
    if not os.access(reset, os.W_OK):
        yield peak
        return
    reset.write_text("5")
    before = _status("VmRSS")
    yield peak
    peak.megabytes = _status("VmHWM") - before


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(key)


def _timed(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
