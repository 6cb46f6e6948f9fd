"""The operators as those who write DAGs meet them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import Asset, BaseOperator

import toros.operators
import toros.sensors
from toros.operators.step import StepOperator
from toros.steps.registry import find_step


def operators() -> Iterator[type[BaseOperator]]:
    for package in (toros.operators, toros.sensors):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for _, member in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
                if issubclass(member, BaseOperator) and member.__module__ == found.name:
                    yield member


ALL = sorted(operators(), key=lambda operator: operator.__name__)


def own_arguments(operator: type[BaseOperator]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(inspect.unwrap(operator.__init__)).parameters
    return {name: p for name, p in parameters.items() if name != "self" and p.kind is not p.VAR_KEYWORD}


def documentation(operator: type[BaseOperator]) -> str:
    """The docstrings of an operator and of those it inherits its arguments from."""
    ours = [cls for cls in operator.__mro__ if cls.__module__.startswith("toros.")]
    return "\n".join(inspect.getdoc(cls) or "" for cls in ours)


@pytest.mark.parametrize("operator", ALL)
def test_arguments_are_given_by_name_and_documented(operator: type[BaseOperator]) -> None:
    assert operator.__doc__
    for name, parameter in own_arguments(operator).items():
        assert parameter.kind is parameter.KEYWORD_ONLY, name
        assert f"{name} :" in documentation(operator) or f"{name}," in documentation(operator), name


@pytest.mark.parametrize("operator", ALL)
def test_templates_are_arguments(operator: type[BaseOperator]) -> None:
    """A template field that is no attribute is an error of Airflow's, but only when the task runs."""
    samples: dict[str, Any] = {
        "step": "clean",
        "imagetype": "Bias",
        "calibration": "bias",
        "science": "light",
        "asset": Asset("frames"),
        "taken": [1],
    }
    wanted = {name: samples[name] for name in own_arguments(operator) if name in samples}
    if "trigger_dag_id" in operator.template_fields:
        wanted["trigger_dag_id"] = "toros_survey"
    task = operator(task_id="task", **wanted)

    for field in operator.template_fields:
        getattr(task, field)
    assert task.retries


@pytest.mark.parametrize("operator", [op for op in ALL if issubclass(op, StepOperator) and op.step])
def test_an_operator_is_named_after_its_step(operator: type[StepOperator]) -> None:
    step = find_step(operator.step)
    assert operator.__name__ == f"{step.__name__}Operator"
