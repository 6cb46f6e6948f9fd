"""Run the benchmarks and print one table; see ``--help``."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import pkgutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import benchmarks
from benchmarks.unit import Bench, Case, Measurement, measure

_HEADINGS = ("work", "U", "limit U", "MB above inputs", "limit MB", "library's U", "ratio", "ok?")
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Run the cases of the subjects named, each in a process of its own; 1 if a limit is not met."""
    subjects = _subjects()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("subjects", nargs="*", metavar="NAME", help=f"one of: {', '.join(subjects)}")
    parser.add_argument(
        "--quick", action="store_true", help="1024x1024 frames; limits are shown, not enforced"
    )
    parser.add_argument("--large", action="store_true", help="also the cases with TOROS's 10560x10560 frames")
    parser.add_argument("--folder", type=Path, help="where to put frames, by default a temporary folder")
    options = parser.parse_args(arguments)
    unknown = set(options.subjects) - set(subjects)
    if unknown:
        parser.error(f"no benchmark of {', '.join(sorted(unknown))}; there are {', '.join(subjects)}")
    os.environ |= dict.fromkeys(_THREADS, "1")
    size = 1024 if options.quick else 4096
    print(
        f"U: read a {size}x{size} uint16 FITS frame, convert it to float32 and write it, with plain numpy\n"
    )
    print(_line(_HEADINGS))
    print(_line(["---"] * len(_HEADINGS)))
    failures = 0
    for name in options.subjects or subjects:
        for index, case in enumerate(subjects[name]):
            if case.large and not options.large:
                continue
            measurement = _run(name, index, size, options.folder)
            fine = _is_fine(case, measurement)
            failures += not fine
            print(_line(_row(case, measurement, fine)), flush=True)
    return 1 if failures and not options.quick else 0


def _subjects() -> dict[str, tuple[Case, ...]]:
    found = {}
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if not module.name.startswith("_"):
            cases = getattr(importlib.import_module(f"benchmarks.{module.name}"), "CASES", ())
            if cases:
                found[module.name] = tuple(cases)
    return found


def _run(subject: str, index: int, size: int, folder: Path | None) -> Measurement:
    """Run a case in a fresh process: nobody else's memory, caches or imports."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=folder) as own, ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, subject, index, Bench(Path(own), size)).result()


def _is_fine(case: Case, measurement: Measurement) -> bool:
    quick_enough = case.limit is None or measurement.units <= case.limit
    known = case.megabytes is not None and measurement.megabytes is not None
    return measurement.right and quick_enough and (not known or measurement.megabytes <= case.megabytes)


def _row(case: Case, measurement: Measurement, fine: bool) -> list[str]:
    ratio = measurement.library_units and measurement.library_units / measurement.units
    work = f"{case.work} ({measurement.remark})" if measurement.remark else case.work
    numbers = (
        measurement.units,
        case.limit,
        measurement.megabytes,
        case.megabytes,
        measurement.library_units,
        ratio,
    )
    return [work, *(_figure(number) for number in numbers), "ok" if fine else "NO"]


def _figure(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}" if number < 100 else f"{number:.0f}"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
