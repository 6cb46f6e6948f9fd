"""Processes that belong together, found again by a mark in their environment.

Airflow's components fork, start new sessions and rename themselves. A mark in the environment is inherited by
all of them, whoever their parent is, and is still there when that parent was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "TOROS_SANDBOX"


def start(
    command: Sequence[str], *, mark: str, environ: Mapping[str, str], log: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, with its output appended to a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            # setproctitle would overwrite the environment as others see it, and the mark with it.
            env={**environ, MARK: mark, "SPT_NOENV": "1"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def marked(mark: str) -> list[psutil.Process]:
    """Find all living processes with that mark, in no particular order."""
    return [process for process in psutil.process_iter() if _has_mark(process, mark)]


def family(pid: int) -> list[psutil.Process]:
    """Find a process and all its living descendants."""
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: Collection[psutil.Process]) -> None:
    """Kill at once (SIGKILL), and wait until they are gone."""
    for process in processes:
        send(process, signal.SIGKILL)
    psutil.wait_procs(list(processes), timeout=10)


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended already."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.1) -> bool:
    """Wait until something is so; False if it did not happen in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def _has_mark(process: psutil.Process, mark: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        # Gone meanwhile, or somebody else's.
        return False
