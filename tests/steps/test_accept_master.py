"""A person's last word on a master, and what the frames that come after it get."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from small_steps import check, last_run, state_of
from toros.errors import BadParameters, NothingToDo
from toros.models import CCD, MasterCal
from toros.steps.accept_master import AcceptMaster, RejectMaster
from toros.steps.runner import Runner
from toros.steps.step import Step, Work

NIGHT = dt.date(2026, 11, 20)


class WantBias(Step[int, int, None]):
    """Wants a master bias."""

    name = "want_bias"
    version = "1"

    def query(self, session: Session, item: None, work: Work) -> int:
        return session.scalars(select(CCD.id)).first() or 0

    def load(self, session: Session, item: None, result: int, work: Work) -> None:
        size = {"xbinning": 1, "ybinning": 1, "naxis1": 64, "naxis2": 64}
        bias = MasterCal(imagetype="Bias", set_key="Bias", night=NIGHT, version=1, ccd_id=result, **size)
        work.spawn(bias, "master_wanted")


class MakeBias(Step[None, None, None]):
    """Makes a master that differs too much from the last good one."""

    name = "make_bias"
    version = "1"
    takes = MasterCal
    from_state = "master_wanted"
    to_state = "master_rejected"
    with_file = True

    def query(self, session: Session, item: MasterCal, work: Work) -> None:
        """Need nothing."""

    def write(self, result: None, work: Work) -> None:
        if self.with_file:
            work.stage("master", NIGHT, "bias", ".fits").write_bytes(b"a bias")


class MakeNothing(MakeBias):
    """Rejects a master before it has a file."""

    with_file = False


@pytest.fixture
def wanted(runner: Runner) -> int:
    """A master bias that is wanted."""
    return runner.run(WantBias()).spawned[0]


def test_a_rejected_master_is_accepted_by_a_person(runner: Runner, wanted: int) -> None:
    runner.run(MakeBias(), wanted)
    assert runner.run(AcceptMaster(person="Ana", reason="new gain"), wanted).state == "master_accepted"
    assert last_run(runner).parameters == {"person": "Ana", "reason": "new gain"}
    assert check(runner).ok


def test_an_accepted_master_is_rejected_by_a_person(runner: Runner, wanted: int) -> None:
    runner.run(MakeBias(), wanted)
    runner.run(AcceptMaster(person="Ana"), wanted)
    assert runner.run(RejectMaster(person="Bruno"), wanted).state == "master_rejected"
    assert check(runner).ok


def test_a_person_may_change_their_mind_as_often_as_they_like(runner: Runner, wanted: int) -> None:
    runner.run(MakeBias(), wanted)
    for _ in range(3):
        runner.run(AcceptMaster(person="Ana"), wanted)
        runner.run(RejectMaster(person="Ana"), wanted)
    assert state_of(runner, wanted) == "master_rejected"
    assert check(runner).ok


def test_what_was_never_made_cannot_be_accepted(runner: Runner, wanted: int) -> None:
    with pytest.raises(NothingToDo):
        runner.run(AcceptMaster(person="Ana"), wanted)
    runner.run(MakeNothing(), wanted)
    with pytest.raises(BadParameters, match="has no file"):
        runner.run(AcceptMaster(person="Ana"), wanted)
    assert state_of(runner, wanted) == "master_rejected"


@pytest.mark.parametrize("decision", [AcceptMaster, RejectMaster])
def test_nobody_decides_without_a_name(decision: type[AcceptMaster | RejectMaster]) -> None:
    with pytest.raises(BadParameters, match="person"):
        decision()
