"""Which process this is, whether another one still lives, and what a run costs."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

import psutil

from toros import __version__

PACKAGES = (
    "apache-airflow",
    "astropy",
    "ccdproc",
    "numpy",
    "photutils",
    "scipy",
    "sqlalchemy",
)


@dataclass(frozen=True)
class ProcessIdentity:
    """A process for ever: pids are reused, a pid with its start on one boot of one host is not."""

    host: str
    boot: str
    pid: int
    started: float

    @classmethod
    def own(cls) -> ProcessIdentity:
        """Return the identity of this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Return the identity of a living process on this machine."""
        return cls(socket.gethostname(), _boot(), pid, _start(psutil.Process(pid)))

    def is_dead(self) -> bool:
        """Tell whether the process is known to have ended; False also when that cannot be known from here."""
        if self.host != socket.gethostname():
            return False
        if self.boot.split()[0] != _boot().split()[0]:
            return True  # the machine was restarted since
        if self.boot != _boot():
            return False  # another container on this machine: its pids mean nothing here
        try:
            process = psutil.Process(self.pid)
            return _start(process) != self.started or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


def _start(process: psutil.Process) -> float:
    """Return when a process started: seconds since boot on Linux, where setting the clock changes nothing."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return process.create_time()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        boot, namespace = f"{psutil.boot_time():.0f}", "host"
    return f"{boot} {namespace}"


@lru_cache(maxsize=1)
def software_versions() -> dict[str, str]:
    """Return the versions that a step run is made with."""
    versions = {"toros": __version__, "python": python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


class Meter:
    """What this process used since the meter was made: CPU seconds and the peak of its memory."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux: start the high-water mark anew

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far."""
        return time.process_time() - self._cpu

    def peak_memory(self) -> int:
        """Return the highest resident memory in bytes."""
        with suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return int(psutil.Process().memory_info().rss)
