"""``toros master``: the master calibration frames, and a person's last word on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.batch import attempt_all, finish
from toros.cli.output import AsJson, print_listing
from toros.cli.retry import Because, By
from toros.cli.run import Night
from toros.cli.status import print_sheet
from toros.cli.stream import login_name, open_runner

if TYPE_CHECKING:
    from toros.steps.accept_master import AcceptMaster, RejectMaster

app = typer.Typer(
    help="Master calibration frames: list them, look at one, accept or reject it.", no_args_is_help=True
)

Masters = Annotated[list[int], typer.Argument(metavar="MASTER...", help="Numbers of masters.")]


@app.command("list")
def list_masters(
    night: Night = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    imagetype: Annotated[str | None, typer.Option(help="Only Bias, Dark or Flat.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the masters, the newest night first."""
    from toros.cli.views.masters import masters

    with open_runner().database.read() as session:
        rows = masters(session, night=night.date() if night else None, state=state, imagetype=imagetype)
    columns = ("item", "imagetype", "night", "filter", "exptime", "set_temp", "version", "frames", "state")
    print_listing(rows, (*columns, "caveats"), as_json=as_json)


@app.command()
def show(
    master: Annotated[int, typer.Argument(metavar="MASTER", help="Number of a master.")],
    as_json: AsJson = False,
) -> None:
    """Show a master: its frames, how it compares with the last good one, and what was corrected with it."""
    from toros.cli.views.items import item_sheet
    from toros.models import MasterCal

    with open_runner().database.read() as session:
        sheet = item_sheet(session, master, MasterCal)
    print_sheet(sheet, as_json=as_json)


@app.command()
def accept(masters: Masters, by: By = None, because: Because = "", as_json: AsJson = False) -> None:
    """Let rejected masters be used from now on; who decided so, and why, is on record."""
    from toros.steps.accept_master import AcceptMaster

    _decide(AcceptMaster(person=by or login_name(), reason=because), masters, as_json=as_json)


@app.command()
def reject(masters: Masters, by: By = None, because: Because = "", as_json: AsJson = False) -> None:
    """Let accepted masters be used no more; frames that were corrected with them stay as they are."""
    from toros.steps.accept_master import RejectMaster

    _decide(RejectMaster(person=by or login_name(), reason=because), masters, as_json=as_json)


def _decide(step: AcceptMaster | RejectMaster, masters: list[int], *, as_json: bool) -> None:
    finish(attempt_all(open_runner(), step, masters), as_json=as_json)
