"""A step of an observatory's own, in a state of its own."""

from __future__ import annotations

from pydantic import Field

from toros.models import Pawprint
from toros.steps import step
from toros.steps.step import Step, Work


class Extinction(step.Parameters):
    """How clouds are told."""

    limit: float = Field(default=0.3, gt=0)
    """Magnitudes of extinction | more is a cloud."""


class FindClouds(Step[None, None, None]):
    """Find clouds | and haze."""

    name = "find_clouds"
    version = "1|2"
    takes = Pawprint
    from_state = "preprocessed_data"
    to_state = "clear_sky"
    Parameters = Extinction

    def query(self, session: object, item: object, work: Work) -> None:
        work.leave("cloudy_sky")
