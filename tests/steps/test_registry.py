"""Steps are found by their names, in this package and in the modules of an observatory."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from toros.errors import Misconfigured, UnknownStep
from toros.models import State
from toros.models.database import Database
from toros.steps.registry import find_step, find_steps
from toros.steps.step import Step


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of an observatory, with one step."""
    name = f"steps_of_{request.node.name}"
    (tmp_path / f"{name}.py").write_text(
        "from toros.steps.step import Step\n"
        "class Ours(Step):\n"
        "    name = 'ours'\n"
        "    version = '1'\n"
        "    def query(self, session, item, work): ...\n"
        "class Base(Step):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_the_shipped_steps_are_found() -> None:
    assert {"discover", "load", "plan_masters"} <= set(find_steps())
    assert find_step("load").name == "load"


def test_a_step_of_the_observatory_is_found_beside_them(module: str) -> None:
    assert find_step("ours", (module,)).__module__ == module
    assert set(find_steps((module,))) == {*find_steps(), "ours"}
    with pytest.raises(UnknownStep, match="'ours'"):
        find_step("ours")


def test_two_steps_of_one_name_are_refused(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}_too.py").write_text((tmp_path / f"{module}.py").read_text())
    with pytest.raises(Misconfigured, match="two steps are called 'ours'"):
        find_steps((module, f"{module}_too"))


def test_a_module_that_is_not_there_is_a_matter_of_the_settings() -> None:
    with pytest.raises(Misconfigured, match="step_modules"):
        find_steps(("no_such_observatory",))
    assert "no_such_observatory" not in sys.modules


@pytest.mark.parametrize("name", sorted(find_steps()))
def test_a_shipped_step_is_declared_completely(name: str, sqlite_template: Path) -> None:
    step = find_step(name)
    assert step.version
    assert inspect.getdoc(step) != inspect.getdoc(Step)
    assert step.groups
    with Database(f"sqlite:///{sqlite_template}").read() as session:
        states = {state.name: state.is_error for state in session.query(State)}
    if step.takes is not None:
        assert {step.from_state, step.to_state} <= set(states) | {""}
        assert states.get(step.error_state, True)
