"""The night board: what came in during a night, where it is now, what was refused and what failed."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, String, Subquery, func, literal, or_, select, union_all
from sqlalchemy.orm import Session

from toros.models import (
    Arrival,
    CalFile,
    Combination,
    MasterCal,
    Pawprint,
    Product,
    Rejection,
    State,
    StepRun,
)
from toros.quality.judge import Colour
from toros.quality.limits import QualityLimits
from toros.quality.record import JudgedMeasure, judged_measures, worst_colour
from toros.web.items import (
    LONGEST_LIST,
    CaveatNote,
    ItemState,
    Refusal,
    caveat_notes,
    refusal_of,
    state_of,
    tone_of,
)
from toros.web.runs import RunLine, run_lines

FRAMES_PER_PAGE = 100
NIGHTS_PER_PAGE = 21

MASTER = "Master"
"""The group of the master frames, beside the image types."""

_DAY = dt.timedelta(days=1)
_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True)
class NightSummary:
    """How much came in during a night."""

    night: dt.date
    science: int
    calibration: int
    refused: int


@dataclass(frozen=True)
class StateCount:
    """How many items of a group are in a state."""

    state: str
    tone: str
    count: int


@dataclass(frozen=True)
class Group:
    """The items of an image type, or the masters."""

    name: str
    states: tuple[StateCount, ...]

    @property
    def count(self) -> int:
        """How many they are in all."""
        return sum(state.count for state in self.states)


@dataclass(frozen=True)
class FrameLine:
    """One exposure."""

    id: int
    imagetype: str
    name: str
    started: dt.datetime
    filter: str | None
    target: str | None
    exptime: float
    state: ItemState
    caveats: tuple[CaveatNote, ...]
    measures: tuple[JudgedMeasure, ...]
    """Of the newest run that measured anything."""
    colour: Colour | None
    """The worst of all that was measured."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class MasterLine:
    """One master frame."""

    id: int
    imagetype: str
    set_key: str
    version: int
    frames: int
    state: ItemState
    caveats: tuple[CaveatNote, ...]
    measures: tuple[JudgedMeasure, ...]
    """Of the newest run that measured anything."""
    colour: Colour | None
    """The worst of all that was measured."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class NightBoard:
    """One night at a glance. Frames come by pages; the other lists are cut."""

    night: dt.date
    begins: dt.datetime
    ends: dt.datetime
    groups: tuple[Group, ...]
    frames: tuple[FrameLine, ...]
    frames_in_all: int
    page: int
    masters: tuple[MasterLine, ...]
    refusals: tuple[Refusal, ...]
    refused: int
    duplicates: int
    running: tuple[RunLine, ...]
    failures: tuple[RunLine, ...]

    @property
    def pages(self) -> int:
        """How many pages of frames there are."""
        return max(1, -(-self.frames_in_all // FRAMES_PER_PAGE))


def list_nights(
    session: Session, longitude: float, before: dt.date | None = None, limit: int = NIGHTS_PER_PAGE
) -> list[NightSummary]:
    """Return the newest nights with anything in them, newest first.

    Parameters
    ----------
    session : Session
        An open session.
    longitude : float
        Of the observatory, degrees, east positive: tells to which night a refused file belongs.
    before : date, optional
        Only nights before this one.
    limit : int
        At most so many.
    """
    counts: dict[dt.date, list[int]] = defaultdict(lambda: [0, 0, 0])
    for place, night in enumerate((Pawprint.night, CalFile.night)):
        query = select(night, func.count()).group_by(night).order_by(night.desc()).limit(limit)
        if before is not None:
            query = query.where(night < before)
        for day, count in session.execute(query):
            counts[day][place] = count
    for day, count in _refused_by_night(session, longitude, before, limit):
        counts[day][2] = count
    return [NightSummary(night, *counts[night]) for night in sorted(counts, reverse=True)[:limit]]


def show_night(
    session: Session,
    night: dt.date,
    longitude: float,
    limits: QualityLimits,
    *,
    group: str | None = None,
    state: str | None = None,
    page: int = 1,
) -> NightBoard:
    """Collect what there is to tell about a night.

    Parameters
    ----------
    session : Session
        An open session.
    night : date
        Named by its evening.
    longitude : float
        Of the observatory, degrees, east positive.
    limits : QualityLimits
        By which the frames get their colours.
    group, state : str, optional
        Show frames of this image type, in this state, only.
    page : int
        Page of frames, from 1.
    """
    begins = night_begins(night, longitude)
    groups = _groups(session, night)
    refused, duplicates = _count_refusals(session, begins)
    return NightBoard(
        night=night,
        begins=begins,
        ends=begins + _DAY,
        groups=groups,
        frames=_frames(session, night, limits, group, state, page),
        frames_in_all=_count_frames(groups, group, state),
        page=page,
        masters=_masters(session, night, limits),
        refusals=_refusals(session, begins),
        refused=refused,
        duplicates=duplicates,
        running=run_lines(session, select(StepRun).where(StepRun.status == "running").limit(LONGEST_LIST)),
        failures=_failures(session, night, begins),
    )


def night_begins(night: dt.date, longitude: float) -> dt.datetime:
    """Return the local noon (mean solar time) that an observing night begins with."""
    noon = dt.datetime.combine(night, dt.time(12), dt.UTC)
    return noon - dt.timedelta(hours=_east(longitude) / 15)


def _east(longitude: float) -> float:
    return (longitude + 180) % 360 - 180


# ------------------------------------------------------------------------------------------------- counts


def _groups(session: Session, night: dt.date) -> tuple[Group, ...]:
    groups: dict[str, list[StateCount]] = defaultdict(list)
    for model, name in ((Pawprint, Pawprint.imagetype), (CalFile, CalFile.imagetype), (MasterCal, None)):
        query = (
            select(literal(MASTER, String) if name is None else name)
            .add_columns(State.name, State.is_error, func.max(model.state_count), func.count())
            .join(model.state)
            .where(model.night == night)
            .group_by(State.id, *([] if name is None else [name]))
            .order_by(*([] if name is None else [name]), State.order)
        )
        for group, state, is_error, steps, count in session.execute(query):
            groups[group].append(
                StateCount(state, tone_of(is_error=is_error, busy=False, count=steps), count)
            )
    return tuple(Group(name, tuple(states)) for name, states in groups.items())


def _count_frames(groups: Sequence[Group], group: str | None, state: str | None) -> int:
    return sum(
        counted.count
        for known in groups
        for counted in known.states
        if known.name != MASTER and group in (None, known.name) and state in (None, counted.state)
    )


# ------------------------------------------------------------------------------------------------- frames


def _frames(
    session: Session, night: dt.date, limits: QualityLimits, group: str | None, state: str | None, page: int
) -> tuple[FrameLine, ...]:
    exposures = _exposures(night)
    query = (
        select(exposures, State)
        .join(State, State.id == exposures.c.state_id)
        .order_by(exposures.c.started.desc(), exposures.c.id.desc())
        .limit(FRAMES_PER_PAGE)
        .offset((page - 1) * FRAMES_PER_PAGE)
    )
    if group is not None:
        query = query.where(exposures.c.imagetype == group)
    if state is not None:
        query = query.where(State.name == state)
    rows = session.execute(query).all()
    ids = [row.id for row in rows]
    caveats, measures = caveats_of(session, ids), judged_measures(session, ids, limits)
    return tuple(
        FrameLine(
            id=row.id,
            imagetype=row.imagetype,
            name=row.name,
            started=row.started,
            filter=row.filter,
            target=row.target,
            exptime=row.exptime,
            state=state_of(row.State, row.claimed_by_id, row.state_count),
            caveats=caveats[row.id],
            measures=of_newest_run(measures[row.id]),
            colour=worst_colour(measures[row.id]),
            reasons=reasons_of(measures[row.id]),
        )
        for row in rows
    )


def _exposures(night: dt.date) -> Subquery:
    selects = [
        select(
            model.id,
            model.imagetype,
            model.name,
            model.observation_date.label("started"),
            model.filter,
            model.object_.label("target"),
            model.exptime,
            model.state_id,
            model.claimed_by_id,
            model.state_count,
        ).where(model.night == night)
        for model in (Pawprint, CalFile)
    ]
    return union_all(*selects).subquery("exposures")


def caveats_of(session: Session, item_ids: Collection[int]) -> dict[int, tuple[CaveatNote, ...]]:
    """Return what the newest products of each item say about themselves."""
    newest: dict[int, dict[str, list[str]]] = defaultdict(dict)
    rows = session.execute(
        select(Product.item_id, Product.kind, Product.caveats)
        .where(Product.item_id.in_(item_ids))
        .order_by(Product.version)
    )
    for item_id, kind, codes in rows:
        newest[item_id][kind] = codes
    said = {
        item: dict.fromkeys(code for codes in newest[item].values() for code in codes) for item in item_ids
    }
    return {item: caveat_notes(list(codes)) for item, codes in said.items()}


def of_newest_run(measures: Sequence[JudgedMeasure]) -> tuple[JudgedMeasure, ...]:
    """Return the numbers that the newest measuring run left."""
    newest = max((measure.run_id for measure in measures), default=0)
    return tuple(measure for measure in measures if measure.run_id == newest)


def reasons_of(measures: Sequence[JudgedMeasure]) -> tuple[str, ...]:
    """Return why an item is not green."""
    return tuple(measure.reason for measure in measures if measure.is_newest and measure.reason)


# ------------------------------------------------------------------------------------------------ masters


def _masters(session: Session, night: dt.date, limits: QualityLimits) -> tuple[MasterLine, ...]:
    rows = session.scalars(
        select(MasterCal)
        .where(MasterCal.night == night)
        .order_by(MasterCal.imagetype, MasterCal.set_key, MasterCal.version.desc())
        .limit(LONGEST_LIST)
    ).all()
    ids = [row.id for row in rows]
    frames = dict(
        session.execute(
            select(Combination.mastercal_id, func.count())
            .where(Combination.mastercal_id.in_(ids))
            .group_by(Combination.mastercal_id)
        ).all()
    )
    caveats, measures = caveats_of(session, ids), judged_measures(session, ids, limits)
    return tuple(
        MasterLine(
            id=row.id,
            imagetype=row.imagetype,
            set_key=row.set_key,
            version=row.version,
            frames=frames.get(row.id, 0),
            state=state_of(row.state, row.claimed_by_id, row.state_count),
            caveats=caveats[row.id],
            measures=of_newest_run(measures[row.id]),
            colour=worst_colour(measures[row.id]),
            reasons=reasons_of(measures[row.id]),
        )
        for row in rows
    )


# --------------------------------------------------------------------------------------- refused and failed


def _refused_by_night(
    session: Session, longitude: float, before: dt.date | None, limit: int
) -> Sequence[tuple[dt.date, int]]:
    # A refused file has no night of its own: it gets that of its last change, counted in days since 1970.
    noon = round(43_200 - _east(longitude) * 240)
    day = ((Arrival.mtime_ns // 1_000_000_000 - noon) // 86_400).label("day")
    query = (
        select(day, func.count())
        .join(Rejection, Rejection.arrival_id == Arrival.id)
        .where(Rejection.code != "duplicate")
        .group_by(day)
        .order_by(day.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(day < (before - _EPOCH).days)
    return [(_EPOCH + number * _DAY, count) for number, count in session.execute(query)]


def _refusals(session: Session, begins: dt.datetime) -> tuple[Refusal, ...]:
    rows = session.execute(
        select(Arrival, Rejection)
        .join(Rejection, Rejection.arrival_id == Arrival.id)
        .where(_written_during(begins), Rejection.code != "duplicate")
        .order_by(Arrival.mtime_ns.desc(), Arrival.id.desc())
        .limit(LONGEST_LIST)
    )
    return tuple(refusal_of(arrival, rejection) for arrival, rejection in rows)


def _count_refusals(session: Session, begins: dt.datetime) -> tuple[int, int]:
    is_duplicate = Rejection.code == "duplicate"
    counts = session.execute(
        select(func.count().filter(~is_duplicate), func.count().filter(is_duplicate))
        .select_from(Rejection)
        .join(Arrival, Rejection.arrival_id == Arrival.id)
        .where(_written_during(begins))
    ).one()
    return counts[0], counts[1]


def _written_during(begins: dt.datetime) -> ColumnElement[bool]:
    start = round(begins.timestamp())
    return Arrival.mtime_ns.between(start * 10**9, (start + 86_400) * 10**9 - 1)


def _failures(session: Session, night: dt.date, begins: dt.datetime) -> tuple[RunLine, ...]:
    """Return the runs that failed on the night's items, or during the night on anything else."""
    its_items = union_all(
        select(Pawprint.id).where(Pawprint.night == night),
        select(CalFile.id).where(CalFile.night == night),
        select(MasterCal.id).where(MasterCal.night == night),
    )
    without_night = select(Arrival.id)
    during = StepRun.started_at.between(begins, begins + _DAY)
    query = (
        select(StepRun)
        .where(
            StepRun.status.in_(("failed", "abandoned")),
            StepRun.id.not_in(select(Rejection.steprun_id)),  # these are told as refused files
            or_(
                StepRun.item_id.in_(its_items),
                during & or_(StepRun.item_id.is_(None), StepRun.item_id.in_(without_night)),
            ),
        )
        .order_by(StepRun.id.desc())
        .limit(LONGEST_LIST)
    )
    return run_lines(session, query)
