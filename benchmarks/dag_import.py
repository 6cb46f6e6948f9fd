"""What it costs to parse a DAG file: every Airflow task does it again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.unit import Bench, Case, Work, Wrong
from toros.sql import sql_folder

_MOST_SECONDS = 0.3
_SCIENCE = ("numpy", "scipy", "astropy", "photutils", "ccdproc")

# Airflow itself and its SDK are there already when a DAG file is parsed.
_PROGRAM = """
import sys, time
import airflow.sdk, airflow.triggers.base, airflow.providers.standard.operators.branch
start = time.process_time()
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {"__name__": "dag"})
print(time.process_time() - start, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@dataclass(frozen=True)
class _Parsed:
    seconds: float
    science: tuple[str, ...]


def _parse(bench: Bench, dag: str) -> Work:
    path = sql_folder().parents[1] / "dags" / f"{dag}.py"
    environ = os.environ | {"AIRFLOW_HOME": str(bench.folder)}

    def work() -> _Parsed:
        command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(path)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        seconds, *modules = done.stdout.splitlines()[-1].split()
        return _Parsed(float(seconds), tuple(name for name in _SCIENCE if name in modules))

    return work


def _remark(parsed: _Parsed) -> str:
    told = f"{parsed.seconds:.2f} s of CPU beyond Airflow's own; science modules: {', '.join(parsed.science) or 'none'}"
    if parsed.science or parsed.seconds > _MOST_SECONDS:
        raise Wrong(told)
    return told


CASES = tuple(
    Case(f"parse {dag}.py in a new process", lambda bench, dag=dag: _parse(bench, dag), remark=_remark)
    for dag in ("toros_survey", "toros_masters")
)
