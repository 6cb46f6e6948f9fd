"""An item goes back only where it has been, by a person's decision, and its history tells so."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import func, select

from small_steps import Make, Troubled, check, last_run, new_stack, raising, state_of, versions_of
from toros.errors import BadParameters, ItemBusy, NotFits, NothingToDo, UnknownItem, Unprocessable
from toros.models import Item, Rejection, StateChange, StepRun
from toros.steps.discover import Discover
from toros.steps.load import Load
from toros.steps.pending import items_waiting_for
from toros.steps.registry import find_steps
from toros.steps.runner import Outcome, Runner
from toros.steps.send_back import SendBack


@pytest.fixture
def failed_stack(runner: Runner) -> int:
    """A stack that could not be made."""
    stack = new_stack(runner)
    with pytest.raises(NotFits):
        runner.run(Troubled("transform", raising(NotFits("trails"))), stack)
    return stack


@pytest.fixture
def refused_file(runner: Runner) -> int:
    """An arrival that the Loader refused."""
    file = runner.settings.inbox[0] / "holiday.fits"
    file.write_text("a picture of the sea")
    os.utime(file, (1, 1))  # it has been left alone for long
    (arrival,) = runner.run(Discover()).spawned
    with pytest.raises(Unprocessable):
        runner.run(Load(), arrival)
    return arrival


def _send_back(runner: Runner, item: int, to_state: str | None = None) -> Outcome:
    step = SendBack(from_state=state_of(runner, item), to_state=to_state, person="Ana", reason="clouds")
    return runner.run(step, item)


def test_a_failed_item_goes_back_to_the_state_before_and_can_be_worked_on(
    runner: Runner, failed_stack: int
) -> None:
    assert _send_back(runner, failed_stack).state == "stack_wanted"
    assert runner.run(Make(), failed_stack).state == "stacked"
    assert check(runner).ok


def test_who_decided_and_why_is_on_record(runner: Runner, failed_stack: int) -> None:
    _send_back(runner, failed_stack)
    run = last_run(runner)
    assert (run.step, run.status, run.item_id) == ("send_back", "succeeded", failed_stack)
    assert (run.parameters["person"], run.parameters["reason"]) == ("Ana", "clouds")
    with runner.database.read() as session:
        change = session.scalars(select(StateChange).where(StateChange.steprun_id == run.id)).one()
        assert (str(change.old_state), str(change.nw_state)) == ("failed_stack", "stack_wanted")


def test_nobody_sends_back_without_a_name(failed_stack: int) -> None:
    with pytest.raises(BadParameters, match="person"):
        SendBack(from_state="failed_stack")
    with pytest.raises(BadParameters, match="person"):
        SendBack(from_state="failed_stack", person="")


def test_a_finished_item_is_made_anew_and_the_old_product_stays(runner: Runner) -> None:
    stack = new_stack(runner)
    runner.run(Make(), stack)
    _send_back(runner, stack, "stack_wanted")
    runner.run(Make(), stack)
    assert versions_of(runner, stack) == [1, 2]
    assert check(runner).ok


def test_a_finished_item_does_not_go_back_by_itself(runner: Runner) -> None:
    stack = new_stack(runner)
    runner.run(Make(), stack)
    with pytest.raises(BadParameters, match="no error state"):
        _send_back(runner, stack)
    assert state_of(runner, stack) == "stacked"


@pytest.mark.parametrize("to_state", ["master_accepted", "stacked", "failed_stack", "nowhere"])
def test_an_item_goes_only_where_it_has_been(runner: Runner, failed_stack: int, to_state: str) -> None:
    with pytest.raises(BadParameters, match="cannot go back"):
        _send_back(runner, failed_stack, to_state)
    assert state_of(runner, failed_stack) == "failed_stack"
    assert check(runner).ok


def test_an_item_that_moved_on_meanwhile_is_left_alone(runner: Runner) -> None:
    stack = new_stack(runner)
    seen_as_failed = SendBack(from_state="failed_stack", person="Ana")
    with pytest.raises(NothingToDo):
        runner.run(seen_as_failed, stack)
    assert state_of(runner, stack) == "stack_wanted"


def test_an_item_at_work_is_not_pulled_away(runner: Runner, failed_stack: int) -> None:
    _send_back(runner, failed_stack)

    def send_back_now() -> None:
        with pytest.raises(ItemBusy):
            _send_back(runner, failed_stack, "failed_stack")

    assert runner.run(Troubled("transform", send_back_now), failed_stack).state == "stacked"


def test_there_must_be_an_item(runner: Runner) -> None:
    with pytest.raises(UnknownItem):
        runner.run(SendBack(from_state="failed_stack", person="Ana"), 4711)


def test_a_refused_file_is_judged_anew_and_the_old_reason_stays_on_record(
    runner: Runner, refused_file: int
) -> None:
    assert _send_back(runner, refused_file).state == "arrived"
    with runner.database.read() as session:
        assert session.scalar(select(func.count(Rejection.id))) == 0
        first = session.scalars(select(StepRun.error_code).where(StepRun.step == "load")).all()
    assert first == ["not_fits"]
    assert check(runner).ok
    with pytest.raises(NotFits):
        runner.run(Load(), refused_file)
    with runner.database.read() as session:
        assert session.scalars(select(Rejection.arrival_id)).all() == [refused_file]
    assert check(runner).ok


def test_it_is_no_step_that_anything_waits_for(runner: Runner, failed_stack: int) -> None:
    with runner.database.read() as session:
        assert items_waiting_for(session, find_steps()["send_back"]) == []
        assert session.get_one(Item, failed_stack).state.name == "failed_stack"
