"""What is new on the sky: the candidates of a night, or of all, the most probable first."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session, joinedload

from toros.models import Candidate, Detection, Pawprint
from toros.web.detections import DetectionLine, newest_found
from toros.web.items import ItemState, state_of

CANDIDATES_PER_PAGE = 50


@dataclass(frozen=True)
class CandidateLine:
    """One object."""

    id: int
    name: str
    field: str
    ra: float
    """ICRS, degrees."""
    dec: float
    state: ItemState
    kind_of_object: str
    counterpart: str | None
    score: float | None
    predicted: str | None
    detections: int
    """Frames on which it stood out."""
    newest: DetectionLine | None
    """The newest of these."""


@dataclass(frozen=True)
class CandidateList:
    """A page of candidates."""

    night: dt.date | None
    """Only those that stood out in a frame of it."""
    candidates: tuple[CandidateLine, ...]
    in_all: int
    page: int
    pages: int


def list_candidates(session: Session, night: dt.date | None = None, page: int = 1) -> CandidateList:
    """Return a page of candidates, the most probable first; pages are counted from 1."""
    wanted = _seen_in(night)
    in_all = session.scalars(select(func.count()).select_from(Candidate).where(*wanted)).one()
    shown = session.scalars(
        select(Candidate)
        .options(joinedload(Candidate.field))
        .where(*wanted)
        .order_by(func.coalesce(Candidate.score, 0.0).desc(), Candidate.id)
        .limit(CANDIDATES_PER_PAGE)
        .offset((page - 1) * CANDIDATES_PER_PAGE)
    ).all()
    ids = [candidate.id for candidate in shown]
    newest, counts = newest_found(session, ids), _count_found(session, ids)
    return CandidateList(
        night=night,
        candidates=tuple(
            CandidateLine(
                id=one.id,
                name=one.name,
                field=one.field.name,
                ra=one.ra,
                dec=one.dec,
                state=state_of(one.state, one.claimed_by_id, one.state_count),
                kind_of_object=one.kind_of_object,
                counterpart=one.counterpart,
                score=one.score,
                predicted=one.predicted,
                detections=counts.get(one.id, 0),
                newest=newest.get(one.id),
            )
            for one in shown
        ),
        in_all=in_all,
        page=page,
        pages=max(1, -(-in_all // CANDIDATES_PER_PAGE)),
    )


def _seen_in(night: dt.date | None) -> list[ColumnElement[bool]]:
    if night is None:
        return []
    stood_out = exists().where(
        Detection.candidate_id == Candidate.id,
        ~Detection.forced,
        Detection.pawprint_id == Pawprint.id,
        Pawprint.night == night,
    )
    return [stood_out]


def _count_found(session: Session, ids: list[int]) -> dict[int, int]:
    rows = session.execute(
        select(Detection.candidate_id, func.count())
        .where(Detection.candidate_id.in_(ids), ~Detection.forced)
        .group_by(Detection.candidate_id)
    )
    return dict(rows.all())
