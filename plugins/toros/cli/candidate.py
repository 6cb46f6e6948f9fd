"""``toros candidate`` and ``toros reference``: what is new on the sky, and what it is compared with."""

from __future__ import annotations

from typing import Annotated

import typer

from toros.cli.output import AsJson, print_listing
from toros.cli.run import Night
from toros.cli.stream import open_runner

app = typer.Typer(help="What is new on the sky: list the candidates, look at one.", no_args_is_help=True)
references_app = typer.Typer(
    help="The images that new frames are compared with: list them.", no_args_is_help=True
)


@app.command("list")
def list_candidates(
    night: Night = None,
    least_score: Annotated[
        float, typer.Option(min=0, max=1, help="Only those that are real with this probability.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """List what stood out of a difference image, the most probably real first."""
    from toros.cli.views.candidates import SUMMARY_COLUMNS, candidates

    with open_runner().database.read() as session:
        rows = candidates(session, night=night.date() if night else None, least_score=least_score)
    print_listing(rows, SUMMARY_COLUMNS, as_json=as_json)


@app.command("show")
def show_candidate(
    candidate: Annotated[int, typer.Argument(metavar="CANDIDATE", help="Number of a candidate.")],
    as_json: AsJson = False,
) -> None:
    """Show the light curve of a candidate: where it stood out, and how faint it was where it did not."""
    from toros.cli.views.candidates import POINT_COLUMNS, light_curve

    with open_runner().database.read() as session:
        rows = light_curve(session, candidate)
    print_listing(rows, POINT_COLUMNS, as_json=as_json, title=f"candidate {candidate}")


@references_app.command("list")
def list_references(as_json: AsJson = False) -> None:
    """List the reference of every field and filter, also those that were replaced."""
    from toros.cli.views.candidates import references

    with open_runner().database.read() as session:
        rows = references(session)
    columns = ("reference", "field", "filter", "stack", "name", "limiting_magnitude", "fwhm")
    print_listing(rows, (*columns, "valid_from", "valid_until"), as_json=as_json)
