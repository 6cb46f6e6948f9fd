"""Choose reference: whether a new stack is what the frames of its field are to be compared with."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from toros.errors import Conflict
from toros.models import (
    Astrometry,
    Candidate,
    Detection,
    Field,
    Pawprint,
    Reference,
    Stack,
    StackMember,
)
from toros.steps.step import ProductFile, Step, Work
from toros.steps.survey_rules import ReferenceRules, read_survey_rules


@dataclass(frozen=True)
class Rows:
    """A stack, the reference that it may replace, and what speaks against it."""

    product: ProductFile
    fov: float
    """Degrees along the longer side."""
    rival: int | None
    """The present reference."""
    objection: str
    """Why that stays; empty if nothing does."""


class ChooseReference(Step[Rows, Rows, Rows]):
    """Make a stack the reference of its field, if it is the first or a better one; differences stay valid."""

    name = "choose_reference"
    version = "1"
    takes = Stack
    from_state = "stacked"
    to_state = "reference_chosen"
    groups = ("stacks",)

    def query(self, session: Session, item: Stack, work: Work) -> Rows:
        rules = read_survey_rules(work.settings.survey_rules).references
        rival = current_reference(session, item.field_id, item.filter)
        return Rows(
            ProductFile.newest(session, item, "stack"),
            _fov(session, item),
            rival.id if rival else None,
            _transient_in(session, item) or (_shortcoming(item, rival.stack, rules) if rival else ""),
        )

    def write(self, result: Rows, work: Work) -> None:
        if result.objection:
            work.leave("reference_declined", result.objection)

    def load(self, session: Session, item: Stack, result: Rows, work: Work) -> None:
        if result.objection:
            return
        session.execute(select(Field.id).where(Field.id == item.field_id).with_for_update())
        rival = current_reference(session, item.field_id, item.filter)
        if (rival.id if rival else None) != result.rival:
            raise Conflict("the field has got another reference meanwhile")
        session.execute(update(Reference).where(Reference.id == result.rival).values(valid_until=work.now))
        session.add(
            Reference(
                field_id=item.field_id,
                filter=item.filter,
                fov=result.fov,
                ra=item.ra,
                dec=item.dec,
                healpix=item.healpix,
                product_id=result.product.id,
                stack_id=item.id,
                steprun_id=work.run_id,
                valid_from=work.now,
            )
        )


def current_reference(session: Session, field_id: int, filter_: str | None) -> Reference | None:
    """Return the reference that new frames of a field and filter are compared with."""
    return session.scalars(
        select(Reference)
        .where(
            Reference.field_id == field_id,
            Reference.filter.is_not_distinct_from(filter_),
            Reference.valid_until.is_(None),
        )
        .order_by(Reference.id.desc())
        .limit(1)
    ).first()


def _shortcoming(stack: Stack, present: Stack, rules: ReferenceRules) -> str:
    """Say in what a stack is no better than the present reference."""
    depth, before = stack.limiting_magnitude, present.limiting_magnitude
    if depth is not None and before is not None and depth < before + rules.least_gain:
        return f"it shows stars to {depth:.2f} mag, the present reference to {before:.2f} mag"
    if depth is None and before is not None:
        return "how faint its stars are is not known; it is for the present reference"
    if stack.fwhm and present.fwhm and stack.fwhm > rules.worst_fwhm * present.fwhm:
        return f'its stars have {stack.fwhm:.1f}", those of the present reference {present.fwhm:.1f}"'
    if depth is None:
        return "nothing tells that it shows fainter stars than the present reference"
    return ""


def _transient_in(session: Session, stack: Stack) -> str:
    """Name a candidate, taken for real, that stood in frames of the stack: it would be missed from then on."""
    found = session.scalar(
        select(Candidate.id)
        .where(
            Candidate.field_id == stack.field_id,
            Candidate.predicted == "real",
            exists().where(
                Detection.candidate_id == Candidate.id,
                ~Detection.forced,
                Detection.flux > 0,
                Detection.pawprint_id == StackMember.pawprint_id,
                StackMember.stack_id == stack.id,
            ),
        )
        .limit(1)
    )
    return "" if found is None else f"candidate {found} shines in its frames"


def _fov(session: Session, stack: Stack) -> float:
    """Return the longer side of the frames of a stack, degrees."""
    sides = session.execute(
        select(
            func.max(Astrometry.pixel_scale * Pawprint.naxis1),
            func.max(Astrometry.pixel_scale * Pawprint.naxis2),
        )
        .join(Astrometry.pawprint)
        .join(StackMember, StackMember.pawprint_id == Pawprint.id)
        .where(StackMember.stack_id == stack.id)
    ).one()
    return max(sides) / 3600
