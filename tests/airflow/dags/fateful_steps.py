"""Steps that end as they are told."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from toros.errors import all_errors
from toros.models import Pawprint, StepRun
from toros.steps import step
from toros.steps.step import Step, Work


class Trial(Step[int, int, int]):
    """Meets an error at its first tries, and ends well after that."""

    name = "trial"
    version = "1"
    takes = Pawprint
    from_state = "raw_data"
    to_state = "cleaned_data"
    error_state = "failed_to_clean"

    class Parameters(step.Parameters):
        """Which error, by its code, and how often."""

        error: str
        times: int = 1

    def query(self, session: Session, item: Pawprint, work: Work) -> int:
        tries = select(func.count()).where(StepRun.item_id == item.id, StepRun.status == "failed")
        return session.scalars(tries).one()

    def transform(self, inputs: int) -> int:
        if inputs < self.parameters.times:
            raise all_errors()[self.parameters.error]("as it was told")
        return inputs


class Fussy(Step[int, int, int]):
    """Meets errors on some items."""

    name = "fussy"
    version = "1"
    takes = Pawprint
    from_state = "raw_data"
    to_state = "cleaned_data"
    error_state = "failed_to_clean"
    errors: ClassVar[dict[int, str]] = {}

    def query(self, session: Session, item: Pawprint, work: Work) -> int:
        return item.id

    def transform(self, inputs: int) -> int:
        if inputs in self.errors:
            raise all_errors()[self.errors[inputs]]("as it was told")
        return inputs
