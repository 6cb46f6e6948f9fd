"""Plan masters: which calibration sets are quiet and not combined yet."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from toros.errors import NothingToDo
from toros.models import CalFile, Combination, MasterCal, State
from toros.steps.calibration_rules import CalibrationRules, read_rules
from toros.steps.cameras import is_as_warm, new_master, set_key, setup_of
from toros.steps.step import Step, Work


@dataclass(frozen=True)
class Wanted:
    """A set to combine, by the ids of its frames, and the version its master will have."""

    frames: tuple[int, ...]
    version: int


class PlanMasters(Step[list[Wanted], list[Wanted], list[Wanted]]):
    """Ask for a master of every set that has new frames; a set that has grown gets a new version.

    The members are fixed here, so that the master made of them is the same whenever it is made.
    """

    name = "plan_masters"
    version = "1"
    groups = ("calibration",)

    def query(self, session: Session, item: None, work: Work) -> list[Wanted]:  # noqa: ARG002
        rules = read_rules(work.settings.rules)
        quiet_since = work.now - dt.timedelta(seconds=rules.masters.quiet_seconds)
        wanted = []
        for frames in _sets_with_new_frames(session, rules):
            if max(frame.created_at for frame in frames) <= quiet_since:
                version = 1 + _newest_version(session, frames[0], rules)
                wanted.append(Wanted(tuple(frame.id for frame in frames), version))
        if not wanted:
            raise NothingToDo("no calibration set is quiet and not combined")
        return wanted

    def load(self, session: Session, item: None, result: list[Wanted], work: Work) -> None:  # noqa: ARG002
        rules = read_rules(work.settings.rules)
        for wanted in result:
            first = session.get_one(CalFile, wanted.frames[0])
            master = new_master(first, rules, wanted.version)
            master.combinations = [Combination(calfile_id=frame) for frame in wanted.frames]
            work.spawn(master, "master_wanted")


def first_quiet(session: Session, rules: CalibrationRules) -> dt.datetime | None:
    """Return when the first of the sets with new frames will have been, or has been, quiet for long enough."""
    quiet = dt.timedelta(seconds=rules.masters.quiet_seconds)
    return min(
        (
            max(frame.created_at for frame in frames) + quiet
            for frames in _sets_with_new_frames(session, rules)
        ),
        default=None,
    )


def _sets_with_new_frames(session: Session, rules: CalibrationRules) -> list[list[CalFile]]:
    nights = list(
        session.scalars(
            select(CalFile.night)
            .join(CalFile.state)
            .where(State.name == "cleaned_data", ~exists().where(Combination.calfile_id == CalFile.id))
            .distinct()
        )
    )
    combined = set(
        session.scalars(
            select(Combination.calfile_id).join(Combination.calfile).where(CalFile.night.in_(nights))
        )
    )
    frames = session.scalars(
        select(CalFile)
        .join(CalFile.state)
        .where(State.name == "cleaned_data", CalFile.night.in_(nights))
        .order_by(CalFile.observation_date, CalFile.id)
    )
    return [alike for alike in _sets_of(frames, rules) if any(frame.id not in combined for frame in alike)]


def _sets_of(frames: Iterable[CalFile], rules: CalibrationRules) -> Iterator[list[CalFile]]:
    """Sort frames into sets; of those that differ in temperature only, each joins the first set it fits."""
    setups: dict[tuple[str, dt.date], list[list[CalFile]]] = defaultdict(list)
    for frame in frames:
        sets = setups[setup_of(frame, rules), frame.night]
        home = next((alike for alike in sets if is_as_warm(frame, alike[0], rules)), None)
        if home is None:
            sets.append([frame])
        else:
            home.append(frame)
    return chain.from_iterable(setups.values())


def _newest_version(session: Session, frame: CalFile, rules: CalibrationRules) -> int:
    newest = session.scalar(
        select(func.max(MasterCal.version)).where(
            MasterCal.set_key == set_key(frame, rules), MasterCal.night == frame.night
        )
    )
    return newest or 0
