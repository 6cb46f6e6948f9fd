"""One item of the stream: what it is, what happened to it, what it was made from and what came of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session, joinedload

from toros.caveats import LEGEND
from toros.models import (
    Arrival,
    CalFile,
    Candidate,
    Combination,
    Detection,
    Item,
    Lineage,
    MasterCal,
    Pawprint,
    Product,
    Rejection,
    Stack,
    StackMember,
    State,
    StateChange,
    StepRun,
)
from toros.quality.judge import Colour
from toros.quality.limits import QualityLimits
from toros.quality.record import JudgedMeasure, judged_measures, worst_colour
from toros.web.detections import STAMPS_KIND, CandidateSheet, show_candidate
from toros.web.facts import Fact, facts_of
from toros.web.stacks import StackSheet, show_stack
from toros.web.titles import titles

LONGEST_LIST = 200
"""Lists that have no pages are cut here, and say so."""

FITS_SUFFIXES = (".fits", ".fit", ".fts")
PACKING_SUFFIXES = (".gz", ".bz2", ".fz", ".z")
PICTURE_SUFFIX = ".png"

TABLES = ("sources", STAMPS_KIND)
"""Kinds of products that are FITS files without an image."""

CONTACT_SHEET = "contact_sheet"

NOT_THE_FRAME = ("difference", CONTACT_SHEET)
"""Kinds of images that do not show what the camera saw."""


@dataclass(frozen=True)
class ItemState:
    """Where an item is in the stream."""

    name: str
    tone: str
    """``bad`` in an error state, ``busy`` while a run holds it, ``new`` before its first step, else ``good``."""


@dataclass(frozen=True)
class Change:
    """One link of an item's history."""

    at: dt.datetime
    old_state: str | None
    new_state: str
    is_error: bool
    run_id: int
    step: str


@dataclass(frozen=True)
class CaveatNote:
    """A caveat and what it means."""

    code: str
    meaning: str


@dataclass(frozen=True)
class ProductLine:
    """A file of an item."""

    id: int
    item_id: int
    item: str
    kind: str
    version: int
    name: str
    size: int
    checksum: str
    run_id: int
    created_at: dt.datetime
    caveats: tuple[CaveatNote, ...]
    is_newest: bool = True
    """Whether no later version of this kind exists among the products that were asked for."""

    @property
    def is_image(self) -> bool:
        """Whether a quick look may be tried."""
        if self.kind in TABLES:
            return False
        suffixes = [suffix.lower() for suffix in PurePath(self.name).suffixes[-2:]]
        if suffixes and suffixes[-1] in PACKING_SUFFIXES:
            suffixes.pop()
        return bool(suffixes) and suffixes[-1] in (*FITS_SUFFIXES, PICTURE_SUFFIX)


@dataclass(frozen=True)
class Refusal:
    """Why an arrival was refused."""

    item_id: int
    path: str
    code: str
    reason: str
    advice: str
    run_id: int
    at: dt.datetime


@dataclass(frozen=True)
class Relative:
    """Another item that this one is bound up with."""

    id: int
    title: str


@dataclass(frozen=True)
class Relatives:
    """What other items are to this one."""

    role: str
    items: tuple[Relative, ...]


@dataclass(frozen=True)
class RunOfItem:
    """A run that worked on an item."""

    id: int
    step: str
    status: str
    started_at: dt.datetime
    error_code: str | None


@dataclass(frozen=True)
class ItemPage:
    """All there is to tell about an item."""

    id: int
    kind: str
    title: str
    night: dt.date | None
    state: ItemState
    held_by: int | None
    held_until: dt.datetime | None
    facts: tuple[Fact, ...]
    refusal: Refusal | None
    history: tuple[Change, ...]
    products: tuple[ProductLine, ...]
    measures: tuple[JudgedMeasure, ...]
    colour: Colour | None
    """The worst of the newest measures."""
    relatives: tuple[Relatives, ...]
    made_from: tuple[ProductLine, ...]
    used_for: tuple[ProductLine, ...]
    runs: tuple[RunOfItem, ...]
    candidate: CandidateSheet | None
    """Where it was seen, if it is a candidate."""
    stack: StackSheet | None
    """What is in it, if it is a stack."""

    @property
    def quick_look(self) -> ProductLine | None:
        """The newest product that is an image of the item itself."""
        return self._newest(lambda product: product.is_image and product.kind not in NOT_THE_FRAME)

    @property
    def contact_sheet(self) -> ProductLine | None:
        """What was found on its difference, drawn."""
        return self._newest(lambda product: product.kind == CONTACT_SHEET)

    def _newest(self, is_wanted: Callable[[ProductLine], bool]) -> ProductLine | None:
        return max(filter(is_wanted, self.products), key=lambda product: product.id, default=None)


def show_item(session: Session, item_id: int, limits: QualityLimits) -> ItemPage | None:
    """Collect what there is to tell about an item; None if there is no such item."""
    item = session.get(Item, item_id)
    if item is None:
        return None
    products = products_where(session, Product.item_id == item_id)
    measures = judged_measures(session, [item_id], limits)[item_id]
    return ItemPage(
        id=item.id,
        kind=item.kind,
        title=titles(session, [item_id])[item_id],
        night=getattr(item, "night", None),
        state=state_of(item.state, item.claimed_by_id, item.state_count),
        held_by=item.claimed_by_id,
        held_until=item.claimed_until,
        facts=facts_of(item),
        refusal=_refusal(item),
        history=_history(session, item_id),
        products=products,
        measures=_newest_run_first(measures)[:LONGEST_LIST],
        colour=worst_colour(measures),
        relatives=_relatives(session, item, has_products=bool(products)),
        made_from=_lineage(session, products, upwards=True),
        used_for=_lineage(session, products, upwards=False),
        runs=_runs(session, item_id),
        candidate=show_candidate(session, item, LONGEST_LIST) if isinstance(item, Candidate) else None,
        stack=show_stack(session, item_id) if isinstance(item, Stack) else None,
    )


def state_of(state: State, claimed_by: int | None, state_count: int) -> ItemState:
    """Say where an item is, and in which tone that is told."""
    return ItemState(
        state.name, tone_of(is_error=state.is_error, busy=claimed_by is not None, count=state_count)
    )


def tone_of(*, is_error: bool, busy: bool, count: int) -> str:
    """Return the tone of a state; `count` is how many states the item has been in."""
    if busy:
        return "busy"
    if is_error:
        return "bad"
    return "new" if count == 1 else "good"


def caveat_notes(codes: Sequence[str]) -> tuple[CaveatNote, ...]:
    """Spell caveats out."""
    meanings: dict[str, str] = {str(code): meaning for code, meaning in LEGEND.items()}
    return tuple(CaveatNote(code, meanings.get(code, "not known to this version")) for code in codes)


def products_where(session: Session, *conditions: ColumnElement[bool]) -> tuple[ProductLine, ...]:
    """Return products, newest first."""
    rows = session.scalars(
        select(Product).where(*conditions).order_by(Product.id.desc()).limit(LONGEST_LIST)
    ).all()
    names = titles(session, {row.item_id for row in rows})
    newest: dict[tuple[int, str], int] = {}
    for row in rows:
        key = (row.item_id, row.kind)
        newest[key] = max(row.version, newest.get(key, 0))
    return tuple(
        ProductLine(
            id=row.id,
            item_id=row.item_id,
            item=names[row.item_id],
            kind=row.kind,
            version=row.version,
            name=PurePath(row.path).name,
            size=row.size,
            checksum=row.checksum,
            run_id=row.steprun_id,
            created_at=row.created_at,
            caveats=caveat_notes(row.caveats),
            is_newest=row.version == newest[row.item_id, row.kind],
        )
        for row in rows
    )


# ---------------------------------------------------------------------------------------------- its records


def _refusal(item: Item) -> Refusal | None:
    if not isinstance(item, Arrival) or item.rejection is None:
        return None
    return refusal_of(item, item.rejection)


def refusal_of(arrival: Arrival, rejection: Rejection) -> Refusal:
    """Tell why an arrival was refused."""
    return Refusal(
        item_id=arrival.id,
        path=arrival.path,
        code=rejection.code,
        reason=rejection.reason,
        advice=rejection.advice,
        run_id=rejection.steprun_id,
        at=arrival.modified_at,
    )


def _history(session: Session, item_id: int) -> tuple[Change, ...]:
    changes = session.scalars(
        select(StateChange)
        .options(
            joinedload(StateChange.old_state),
            joinedload(StateChange.nw_state),
            joinedload(StateChange.steprun),
        )
        .where(StateChange.item_id == item_id)
        .order_by(StateChange.count.desc())
        .limit(LONGEST_LIST)
    )
    return tuple(
        Change(
            at=change.created_at,
            old_state=change.old_state.name if change.old_state else None,
            new_state=change.nw_state.name,
            is_error=change.nw_state.is_error,
            run_id=change.steprun_id,
            step=change.steprun.step,
        )
        for change in changes
    )


def _newest_run_first(measures: Sequence[JudgedMeasure]) -> tuple[JudgedMeasure, ...]:
    """Turn the order of the runs round, but not the order within a run."""
    return tuple(sorted(measures, key=lambda measure: -measure.run_id))


def _runs(session: Session, item_id: int) -> tuple[RunOfItem, ...]:
    rows = session.scalars(
        select(StepRun).where(StepRun.item_id == item_id).order_by(StepRun.id.desc()).limit(LONGEST_LIST)
    )
    return tuple(RunOfItem(row.id, row.step, row.status, row.started_at, row.error_code) for row in rows)


# ---------------------------------------------------------------------------------------------- its relatives


def _relatives(session: Session, item: Item, *, has_products: bool) -> tuple[Relatives, ...]:
    roles: list[tuple[str, Sequence[int]]] = []
    if isinstance(item, Arrival) and item.exposure_id is not None:
        roles.append(("registered as", [item.exposure_id]))
    if isinstance(item, Pawprint | CalFile):
        arrivals = select(Arrival.id).where(Arrival.exposure_id == item.id)
        roles.append(("arrived as", _ids(session, arrivals)))
    if isinstance(item, Pawprint):
        stacks = select(StackMember.stack_id).where(StackMember.pawprint_id == item.id)
        seen = select(Detection.candidate_id).where(Detection.pawprint_id == item.id, ~Detection.forced)
        roles.append(("stacked in", _ids(session, stacks)))
        roles.append(("new on it", _ids(session, seen.order_by(Detection.score.desc()))))
    if isinstance(item, CalFile):
        masters = select(Combination.mastercal_id).where(Combination.calfile_id == item.id)
        roles.append(("member of", _ids(session, masters)))
    if isinstance(item, MasterCal) and not has_products:  # else its lineage tells
        frames = select(Combination.calfile_id).where(Combination.mastercal_id == item.id)
        roles.append(("will combine", _ids(session, frames)))
    names = titles(session, {item_id for _, ids in roles for item_id in ids})
    return tuple(
        Relatives(role, tuple(Relative(item_id, names[item_id]) for item_id in ids))
        for role, ids in roles
        if ids
    )


def _ids(session: Session, query: Select[int]) -> Sequence[int]:
    return session.scalars(query.limit(LONGEST_LIST)).all()


def _lineage(
    session: Session, products: Collection[ProductLine], *, upwards: bool
) -> tuple[ProductLine, ...]:
    near, far = (Lineage.output_id, Lineage.input_id) if upwards else (Lineage.input_id, Lineage.output_id)
    own = [product.id for product in products]
    return products_where(session, Product.id.in_(select(far).where(near.in_(own))), Product.id.not_in(own))
