"""Which steps there are: those in this package, and those of the modules named in the settings."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import lru_cache

from toros import steps
from toros.errors import Misconfigured, UnknownStep
from toros.steps.step import Step

AnyStep = type[Step[object, object, object]]


@lru_cache(maxsize=4)
def find_steps(further_modules: tuple[str, ...] = ()) -> dict[str, AnyStep]:
    """Return all steps by name.

    Raises
    ------
    Misconfigured
        A module cannot be imported, or two steps have one name.
    """
    found: dict[str, AnyStep] = {}
    for module in [*_own_modules(), *further_modules]:
        for step in _steps_of(module):
            if found.setdefault(step.name, step) is not step:
                raise Misconfigured(f"two steps are called {step.name!r}", advice="rename one of them")
    return found


def find_step(name: str, further_modules: tuple[str, ...] = ()) -> AnyStep:
    """Return the step of that name.

    Raises
    ------
    UnknownStep
    """
    known = find_steps(further_modules)
    if name not in known:
        raise UnknownStep(f"no step is called {name!r}")
    return known[name]


def _own_modules() -> Iterator[str]:
    for module in pkgutil.iter_modules(steps.__path__, f"{steps.__name__}."):
        yield module.name


def _steps_of(module_name: str) -> Iterator[AnyStep]:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"cannot import {module_name}: {error}", advice="correct [toros] step_modules"
        ) from error
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, Step) and member.__module__ == module_name and not inspect.isabstract(member):
            yield member
