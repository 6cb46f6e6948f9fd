"""Warm workers: the science stack is imported once, by the process that forks the tasks.

A task process that imports astropy and scipy itself spends seconds of CPU on it before any pixel is touched.
Airflow forks its tasks, so what their parent has imported is free: eight steps in a row cost two seconds
instead of a minute. Only two processes are such parents: the scheduler, if it runs tasks itself
(LocalExecutor), and the Celery worker. All others (DAG processor, triggerer, API server) stay light.

The scheduler warms up when it loads the plugin. The Celery worker, which loads no plugins before it forks,
does so through the entry point of `toros.at_start`.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache

from toros.config import load_settings

log = logging.getLogger(__name__)

PACKAGES = ("toros.science", "toros.models", "toros.store", "toros.steps")
"""Packages that tasks need, with all their modules."""

LIBRARIES = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "astropy.coordinates",
    "astropy.io.fits",
    "astropy.nddata",
    "astropy.stats",
    "astropy.table",
    "astropy.time",
    "astropy.wcs",
    "photutils.detection",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.spatial",
)
"""The science stack, also where a step imports it only when it runs."""

THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@cache
def warm_up() -> tuple[str, ...]:
    """Import what tasks need, once in this process and in none that is forked from it.

    Returns
    -------
    tuple of str
        The modules that were asked for. One that cannot be imported is logged and left to the task that
        needs it.
    """
    # Threads that were started before a fork do not exist after it: whoever waits for them waits for ever.
    for name in THREAD_COUNTS:
        os.environ.setdefault(name, "1")
    modules = (*LIBRARIES, *_modules_of(PACKAGES), *load_settings().step_modules)
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            log.warning("Cannot import %s before tasks are forked", module, exc_info=True)
    # Objects that the collector never visits stay in memory pages that parent and tasks share.
    gc.collect()
    gc.freeze()
    return modules


def is_scheduler_with_tasks(argv: Sequence[str]) -> bool:
    """Whether that command line starts a scheduler that forks the tasks itself."""
    from airflow.configuration import conf

    return argv[1:2] == ["scheduler"] and "LocalExecutor" in conf.get("core", "executor")


def is_celery_worker(argv: Sequence[str]) -> bool:
    """Whether that command line starts a Celery worker."""
    return argv[1:3] == ["celery", "worker"]


def _modules_of(packages: Sequence[str]) -> Iterator[str]:
    for name in packages:
        package = importlib.import_module(name)
        yield name
        yield from (found.name for found in pkgutil.walk_packages(package.__path__, f"{name}."))
