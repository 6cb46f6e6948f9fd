"""Plan stacks: which fields have new measured frames, and which of their frames are worth combining."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from toros.errors import NothingToDo
from toros.models import Field, Pawprint, QualityMeasure, Reference, Stack, StackMember, State, StateChange
from toros.steps.step import Step, Work
from toros.steps.survey_rules import StackRules, read_survey_rules

SEARCHED = ("failed_difference", "searched", "failed_search")
"""States of good frames that were compared with the reference of their field, or cannot be."""

MEASURED = ("measured", "differenced", *SEARCHED)
"""States of all good frames."""


@dataclass(frozen=True)
class Frame:
    """A measured frame, as far as it matters for stacking."""

    id: int
    field_id: int
    filter: str | None
    night: dt.date
    measured_at: dt.datetime
    fwhm: float | None
    """Arcsec."""
    trailing: float | None
    """Ellipticity of its stars."""
    limiting_magnitude: float | None


@dataclass(frozen=True)
class Wanted:
    """A stack to be made."""

    set_key: str
    version: int
    field_id: int
    filter: str | None
    night: dt.date | None
    frames: tuple[int, ...]
    first_new: int
    """The first of its frames that is in no stack: it stays the same while more are coming."""
    newest: dt.datetime
    """When the last of its frames was measured."""


class PlanStacks(Step[list[Wanted], list[Wanted], list[Wanted]]):
    """Ask for a stack of every field, filter and night with new frames, and for a deep one over all nights.

    The members are fixed here, so that the stack made of them is the same whenever it is made. A set that has
    grown, because a frame came late, gets a new version beside the old.
    """

    name = "plan_stacks"
    version = "1"
    groups = ("stacks",)

    def query(self, session: Session, item: None, work: Work) -> list[Wanted]:  # noqa: ARG002
        rules = read_survey_rules(work.settings.survey_rules).stacks
        quiet_since = work.now - dt.timedelta(seconds=rules.quiet_seconds)
        wanted = [stack for stack in wanted_stacks(session, rules) if stack.newest <= quiet_since]
        if not wanted:
            raise NothingToDo("no field is quiet and has frames that are not stacked")
        return wanted

    def load(self, session: Session, item: None, result: list[Wanted], work: Work) -> None:  # noqa: ARG002
        for wanted in result:
            field = session.get_one(Field, wanted.field_id)
            stack = Stack(
                field_id=field.id,
                set_key=wanted.set_key,
                filter=wanted.filter,
                night=wanted.night,
                version=wanted.version,
                ra=field.ra,
                dec=field.dec,
                healpix=field.healpix,
            )
            stack.members = [StackMember(pawprint_id=frame) for frame in wanted.frames]
            work.spawn(stack, "stack_wanted")


def wanted_stacks(session: Session, rules: StackRules) -> Iterator[Wanted]:
    """Yield the stacks that are to be made, quiet or not."""
    for frames in _sets(_measured_frames(session)):
        chosen = _choose(frames, rules)
        if len(chosen) < rules.fewest_frames:
            continue
        first, nights = frames[0], {frame.night for frame in frames}
        night = first.night if len(nights) == 1 else None
        key = f"field={first.field_id}|filter={first.filter or ''}|night={night or 'all'}"
        newest = _newest(session, key)
        members = tuple(sorted(frame.id for frame in chosen))
        before = _members(session, newest) if newest else ()
        if members != before:
            yield Wanted(
                key,
                newest.version + 1 if newest else 1,
                first.field_id,
                first.filter,
                night,
                members,
                min({*members} - {*before} or members),
                max(frame.measured_at for frame in frames),
            )


def _sets(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Sort frames into sets: one for each field, filter and night, and one for all nights if there are several."""
    nights: dict[tuple[int, str | None, dt.date], list[Frame]] = defaultdict(list)
    fields: dict[tuple[int, str | None], list[Frame]] = defaultdict(list)
    for frame in frames:
        nights[frame.field_id, frame.filter, frame.night].append(frame)
        fields[frame.field_id, frame.filter].append(frame)
    yield from nights.values()
    yield from (all_of_it for all_of_it in fields.values() if len({frame.night for frame in all_of_it}) > 1)


def _choose(frames: Sequence[Frame], rules: StackRules) -> list[Frame]:
    """Leave out frames with trails or broad stars, and of too many those that show the faint stars worst."""
    steady = [frame for frame in frames if (frame.trailing or 0.0) <= rules.worst_trailing]
    widths = [frame.fwhm for frame in steady if frame.fwhm is not None]
    limit = rules.worst_fwhm * median(widths) if widths else 0.0
    sharp = [frame for frame in steady if frame.fwhm is None or frame.fwhm <= limit]
    return sorted(sharp, key=lambda frame: (-(frame.limiting_magnitude or 0.0), frame.id))[
        : rules.most_frames
    ]


def _measured_frames(session: Session) -> list[Frame]:
    """Return all good frames of the fields where some are in no stack yet."""
    measured_at = (
        select(StateChange.item_id, func.max(StateChange.created_at).label("at"))
        .join(StateChange.nw_state)
        .where(State.name == "measured")
        .group_by(StateChange.item_id)
        .subquery()
    )
    # Where there is a reference, frames are searched first: what shines in them must be known before they are stacked.
    has_reference = exists().where(
        Reference.field_id == Pawprint.field_id, Reference.filter.is_not_distinct_from(Pawprint.filter)
    )
    is_ready = State.name.in_(SEARCHED) | (State.name.in_(MEASURED) & ~has_reference)
    stackable = is_ready & Pawprint.bayer.is_(None)  # a mosaic of colours cannot be brought onto another grid
    growing = (
        select(Pawprint.field_id)
        .join(Pawprint.state)
        .where(stackable, ~exists().where(StackMember.pawprint_id == Pawprint.id))
    )
    rows = session.execute(
        select(Pawprint.id, Pawprint.field_id, Pawprint.filter, Pawprint.night, measured_at.c.at)
        .join(Pawprint.state)
        .join(measured_at, measured_at.c.item_id == Pawprint.id)
        .where(stackable, Pawprint.field_id.in_(growing))
        .order_by(Pawprint.id)
    ).all()
    widths, trails, limits = (
        _newest_measures(session, name) for name in ("fwhm", "trailing", "limiting_magnitude")
    )
    return [
        Frame(number, field, name, night, at, widths.get(number), trails.get(number), limits.get(number))
        for number, field, name, night, at in rows
    ]


def _newest_measures(session: Session, name: str) -> dict[int, float]:
    """Return a measure of all frames, of each the newest value."""
    query = (
        select(QualityMeasure.item_id, QualityMeasure.value)
        .where(QualityMeasure.name == name)
        .order_by(QualityMeasure.id)
    )
    return dict(session.execute(query).all())


def _newest(session: Session, key: str) -> Stack | None:
    query = select(Stack).where(Stack.set_key == key).order_by(Stack.version.desc()).limit(1)
    return session.scalars(query).first()


def _members(session: Session, stack: Stack) -> tuple[int, ...]:
    query = select(StackMember.pawprint_id).where(StackMember.stack_id == stack.id)
    return tuple(sorted(session.scalars(query)))
