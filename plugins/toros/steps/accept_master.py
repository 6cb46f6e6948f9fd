"""Accept master: a person overrules the comparison that rejected a master frame, or one that let it pass."""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from toros.errors import BadParameters
from toros.models import MasterCal, Product
from toros.steps.send_back import BY_HAND, Decision
from toros.steps.step import Step, Work


class AcceptMaster(Step[None, None, None]):
    """Let a rejected master be used from now on."""

    name = "accept_master"
    version = "1"
    takes = MasterCal
    from_state = "master_rejected"
    to_state = "master_accepted"
    groups = (BY_HAND,)
    Parameters = Decision

    def query(self, session: Session, item: MasterCal, work: Work) -> None:  # noqa: ARG002
        if not session.scalar(select(exists().where(Product.item_id == item.id, Product.kind == "master"))):
            raise BadParameters(
                f"master {item.id} has no file", advice=f"have it made anew: toros retry {item.id}"
            )


class RejectMaster(Step[None, None, None]):
    """Let an accepted master be used no more; frames that were corrected with it stay as they are."""

    name = "reject_master"
    version = "1"
    takes = MasterCal
    from_state = "master_accepted"
    to_state = "master_rejected"
    groups = (BY_HAND,)
    Parameters = Decision

    def query(self, session: Session, item: MasterCal, work: Work) -> None:
        """Ask nothing: the state says it all."""
