"""Whatever a killed process leaves is the old state or the new one, and the next run cleans up."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from clock import Clock
from small_steps import (
    NIGHT,
    Make,
    Troubled,
    Wish,
    barrier,
    check,
    last_run,
    new_stack,
    queue,
    race,
    run_and_die,
    run_and_die_at_line,
    start,
    state_of,
    versions_of,
    wish_and_die,
)
from toros.errors import ClaimLost, FileMissing, ItemBusy
from toros.models import StepRun
from toros.steps.healing import LONGEST_RUN_WITHOUT_ITEM, active_runs, dead_runs, heal
from toros.steps.process import ProcessIdentity
from toros.steps.runner import Runner

BEFORE = ["claimed", "query", "extract", "transform", "write", "load"]


def kill_at(runner: Runner, item_id: int, stage: str) -> None:
    child = start(run_and_die, runner.settings, item_id, stage)
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


# ----------------------------------------------------------------------------------------- killed processes


@pytest.mark.parametrize("stage", BEFORE)
def test_a_step_killed_before_its_record_left_the_old_state(runner: Runner, stage: str) -> None:
    stack = new_stack(runner)

    kill_at(runner, stack, stage)

    assert state_of(runner, stack) == "stack_wanted"
    broken = check(runner, heal=False)
    assert set(broken.found) == {"F4_dead_run"}
    healed = check(runner)
    assert healed.ok
    assert healed.healed == (last_run(runner).id,)
    assert (last_run(runner).status, last_run(runner).error_code) == ("abandoned", "abandoned")
    assert list(runner.store.files()) == []
    assert runner.store.staged_runs() == []


def test_a_step_killed_after_its_record_left_the_new_state(runner: Runner) -> None:
    stack = new_stack(runner)

    kill_at(runner, stack, "recorded")

    assert (state_of(runner, stack), last_run(runner).status) == ("stacked", "succeeded")
    assert set(check(runner, heal=False).found) == {"F4_staging_left"}
    assert check(runner).ok
    assert runner.store.staged_runs() == []
    assert runner.run(Make(), stack).again


@pytest.mark.parametrize("stage", [*BEFORE, "recorded"])
def test_after_a_kill_the_next_run_needs_nobody_to_heal(runner: Runner, stage: str) -> None:
    stack = new_stack(runner)
    kill_at(runner, stack, stage)

    outcome = runner.run(Make(), stack)

    assert (outcome.state, versions_of(runner, stack)) == ("stacked", [1])
    assert check(runner).ok
    assert len(list(runner.store.files())) == 1


def kill_at_lines(runner: Runner, tmp_path: Path, every: int) -> None:
    """Kill a run before each so-and-so-many-th line of the package that it executes."""
    report = tmp_path / "lines"
    whole = start(run_and_die_at_line, runner.settings, new_stack(runner), 0, str(report))
    whole.join(60)
    lines = int(report.read_text())
    assert lines > 300
    old, new = 0, 0
    for line in [*range(1 + every // 2, lines, every), lines - 3]:  # the last ones come after the record
        stack = new_stack(runner)
        child = start(run_and_die_at_line, runner.settings, stack, line)
        child.join(60)
        assert child.exitcode in (-signal.SIGKILL, 0)  # not every run is as long as the first one
        state = state_of(runner, stack)
        found = check(runner).violations
        assert not found, f"killed before line {line}"
        assert state_of(runner, stack) == state
        assert versions_of(runner, stack) == ([1] if state == "stacked" else [])
        old, new = old + (state == "stack_wanted"), new + (state == "stacked")
        assert runner.run(Make(), stack).state == "stacked"
        assert versions_of(runner, stack) == [1]
    assert old > 0
    assert new > 0
    assert check(runner).ok


def test_a_step_killed_at_lines_all_along_its_run_is_healed(runner: Runner, tmp_path: Path) -> None:
    kill_at_lines(runner, tmp_path, every=61)


@pytest.mark.chaos
def test_a_step_killed_at_any_line_is_healed(runner: Runner, tmp_path: Path) -> None:
    kill_at_lines(runner, tmp_path, every=1)


def test_a_step_without_an_item_leaves_nothing_of_itself_when_it_is_killed(runner: Runner) -> None:
    child = start(wish_and_die, runner.settings)
    child.join(60)

    assert child.exitcode == -signal.SIGKILL
    assert len(check(runner).healed) == 1
    assert check(runner).checked["items"] == 0


# ------------------------------------------------------------------------------------------------ races


def test_of_two_processes_that_want_one_item_exactly_one_gets_it(runner: Runner) -> None:
    stacks = runner.run(Wish(stacks=8)).spawned
    starting_line, results = barrier(2), queue()
    children = [start(race, runner.settings, list(stacks), starting_line, results) for _ in range(2)]

    told = sorted(results.get(timeout=60) for _ in range(2 * len(stacks)))
    for child in children:
        child.join(60)

    for stack in stacks:
        first, second = (what for item_id, what in told if item_id == stack)
        assert "done" in (first, second)
        assert {first, second} - {"done"} <= {"ItemBusy", "again"}
        assert versions_of(runner, stack) == [1]
    assert sum(what == "done" for _, what in told) == len(stacks)
    assert check(runner).ok


def test_an_item_in_work_is_busy_for_everybody_else(runner: Runner) -> None:
    stack = new_stack(runner)
    refused: list[ItemBusy] = []

    def ask_for_it_too() -> None:
        with pytest.raises(ItemBusy) as busy:
            runner.run(Make(), stack)
        refused.append(busy.value)

    runner.run(Troubled("transform", ask_for_it_too), stack)

    assert len(refused) == 1
    assert state_of(runner, stack) == "stacked"


# ------------------------------------------------------------------------------------- who counts as dead


def elsewhere(runner: Runner, run_id: int, host: str = "another host") -> None:
    """Make a run that of another host, whose processes cannot be seen from here."""
    with runner.database.write() as session:
        session.execute(update(StepRun).where(StepRun.id == run_id).values(host=host))


def test_a_run_on_another_host_is_respected_until_its_lease_ends(runner: Runner, clock: Clock) -> None:
    stack = new_stack(runner)
    kill_at(runner, stack, "transform")
    elsewhere(runner, last_run(runner).id)

    with pytest.raises(ItemBusy):
        runner.run(Make(), stack)
    clock.advance(minutes=14)
    assert heal(runner.database, runner.store, clock()) == []
    clock.advance(minutes=2)
    assert runner.run(Make(), stack).state == "stacked"
    assert check(runner).ok


def test_a_run_without_an_item_on_another_host_is_given_up_after_a_while(
    runner: Runner, clock: Clock
) -> None:
    child = start(wish_and_die, runner.settings)
    child.join(60)
    elsewhere(runner, last_run(runner).id)

    assert dead_runs(runner.database, clock()) == []
    clock.advance(seconds=LONGEST_RUN_WITHOUT_ITEM.total_seconds() + 60)
    assert [run.id for run in dead_runs(runner.database, clock())] == [last_run(runner).id]


@pytest.mark.parametrize("stage", ["extract", "write"])
def test_who_outlives_his_lease_loses_his_work_but_harms_nobody(
    runner: Runner, clock: Clock, stage: str
) -> None:
    """A slow process elsewhere is taken for dead, somebody else does its work, and then it wakes up."""
    stack = new_stack(runner)

    def sleep_too_long() -> None:
        slow = last_run(runner)
        elsewhere(runner, slow.id)
        active_runs.discard(slow.id)  # as it looks from a host where this process does not exist
        clock.advance(hours=1)
        assert runner.run(Make(light="of the faster"), stack).state == "stacked"

    with pytest.raises((ClaimLost, FileMissing)):
        runner.run(Troubled(stage, sleep_too_long, light="of the slow"), stack)

    assert (state_of(runner, stack), versions_of(runner, stack)) == ("stacked", [1])
    assert [runner.store.path(file).read_bytes() for file in runner.store.files()] == [
        b"field 1.0: of the faster"
    ]
    assert check(runner).ok


def test_a_process_is_itself_for_ever_although_its_pid_is_reused() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert not identity.is_dead()
        assert replace(ProcessIdentity.own(), pid=child.pid).is_dead()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identity.is_dead()  # although its parent has not asked for its exit code yet
    assert identity.is_dead()


def test_what_cannot_be_seen_from_here_is_not_called_dead() -> None:
    own = ProcessIdentity.own()
    boot, _, _ = own.boot.partition(" ")

    assert not own.is_dead()
    assert not replace(own, host="elsewhere", pid=2**22).is_dead()
    assert not replace(own, boot=f"{boot} another-container", pid=2**22).is_dead()
    assert replace(own, boot="before-the-power-cut 4026531836").is_dead()


def test_healing_is_idempotent_and_leaves_the_living_alone(runner: Runner, clock: Clock) -> None:
    stack = new_stack(runner)

    def heal_meanwhile() -> None:
        assert heal(runner.database, runner.store, clock()) == []

    assert runner.run(Troubled("write", heal_meanwhile), stack).state == "stacked"
    assert heal(runner.database, runner.store, clock() + dt.timedelta(days=1)) == []


def test_the_files_of_a_dead_run_go_and_those_of_products_stay(runner: Runner) -> None:
    made = new_stack(runner)
    runner.run(Make(), made)
    files = list(runner.store.files())
    stack = new_stack(runner)
    kill_at(runner, stack, "load")
    assert len(list(runner.store.files())) == 2

    heal(runner.database, runner.store, runner.clock())

    assert list(runner.store.files()) == files
    assert not list((runner.store.root / ".staging").iterdir())
    assert (runner.store.root / str(NIGHT)).is_dir()
