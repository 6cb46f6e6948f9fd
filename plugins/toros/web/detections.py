"""What was measured of a candidate, frame by frame."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Select, exists, func, or_, select
from sqlalchemy.orm import Session

from toros.models import Candidate, Detection, Pawprint, Product

STAMPS_KIND = "candidates"
"""Kind of the product that holds the stamps of a frame."""


@dataclass(frozen=True)
class DetectionLine:
    """A candidate on one frame: seen, or looked for."""

    id: int
    frame_id: int
    frame: str
    night: dt.date
    at: dt.datetime
    """Middle of the exposure."""
    jd: float
    """The same (UTC)."""
    filter: str | None
    forced: bool
    """Measured at its place, not found by itself."""
    flux: float
    """Electron."""
    flux_err: float
    snr: float
    mag: float | None
    mag_err: float | None
    upper_limit: float | None
    score: float | None
    model_version: str | None
    has_stamps: bool

    @property
    def has_magnitude(self) -> bool:
        """Whether it has a place in a light curve."""
        return self.mag is not None or self.upper_limit is not None


@dataclass(frozen=True)
class CandidateSheet:
    """What only candidates have."""

    ra: float
    """ICRS, degrees."""
    dec: float
    detections: tuple[DetectionLine, ...]
    """The newest frames first; a long list is cut."""
    stamps: DetectionLine | None
    """The newest detection that has any."""
    has_light_curve: bool


@dataclass(frozen=True)
class StampsPlace:
    """Where the stamps of a detection are: the row of which product."""

    product_id: int
    row: int


def show_candidate(session: Session, candidate: Candidate, limit: int) -> CandidateSheet:
    """Collect what only candidates have, at most so many detections."""
    found = newest_found(session, [candidate.id]).get(candidate.id)
    bright = exists().where(
        Detection.candidate_id == candidate.id,
        or_(Detection.mag.is_not(None), Detection.upper_limit.is_not(None)),
    )
    return CandidateSheet(
        candidate.ra,
        candidate.dec,
        list_detections(session, candidate.id, limit),
        found if found and found.has_stamps else None,
        has_light_curve=session.scalars(select(bright)).one(),
    )


def list_detections(
    session: Session, candidate_id: int, limit: int | None = None
) -> tuple[DetectionLine, ...]:
    """Return what was measured of a candidate, the newest frames first."""
    query = _lines().where(Detection.candidate_id == candidate_id)
    rows = session.execute(query.order_by(Pawprint.jd.desc(), Detection.id.desc()).limit(limit))
    return tuple(_line(detection, frame) for detection, frame in rows)


def newest_found(session: Session, candidate_ids: Collection[int]) -> dict[int, DetectionLine]:
    """Return the newest detection of each candidate, of those that stood out by themselves."""
    rank = func.row_number().over(
        partition_by=Detection.candidate_id, order_by=(Pawprint.jd.desc(), Detection.id.desc())
    )
    ranked = (
        select(Detection.id, rank.label("rank"))
        .join(Detection.pawprint)
        .where(Detection.candidate_id.in_(candidate_ids), ~Detection.forced)
        .subquery()
    )
    newest = select(ranked.c.id).where(ranked.c.rank == 1)
    rows = session.execute(_lines().where(Detection.id.in_(newest)))
    return {detection.candidate_id: _line(detection, frame) for detection, frame in rows}


def find_stamps(session: Session, detection_id: int) -> StampsPlace | None:
    """Find the stamps that were cut when a detection was made; None if there are none."""
    found = session.execute(
        select(Product.id, Detection.stamp)
        .join(Product, Product.steprun_id == Detection.steprun_id)
        .where(Detection.id == detection_id, Detection.stamp.is_not(None), Product.kind == STAMPS_KIND)
    ).first()
    if found is None:
        return None
    product, row = found
    assert row is not None  # as it was asked for
    return StampsPlace(product, row)


def _lines() -> Select[Detection, Pawprint]:
    return select(Detection, Pawprint).join(Detection.pawprint)


def _line(detection: Detection, frame: Pawprint) -> DetectionLine:
    return DetectionLine(
        id=detection.id,
        frame_id=frame.id,
        frame=frame.name,
        night=frame.night,
        at=frame.observation_date + dt.timedelta(seconds=frame.exptime / 2),
        jd=frame.jd + frame.exptime / 2 / 86_400,
        filter=frame.filter,
        forced=detection.forced,
        flux=detection.flux,
        flux_err=detection.flux_err,
        snr=detection.snr,
        mag=detection.mag,
        mag_err=detection.mag_err,
        upper_limit=detection.upper_limit,
        score=detection.score,
        model_version=detection.model_version,
        has_stamps=detection.stamp is not None,
    )
