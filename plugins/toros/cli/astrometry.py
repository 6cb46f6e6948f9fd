"""``toros review`` and ``toros solve``: frames that nobody could place on the sky, and a person who can."""

from __future__ import annotations

from typing import Annotated

import typer

from toros.cli.batch import attempt_all, finish
from toros.cli.output import AsJson, print_listing
from toros.cli.stream import open_runner


def review(as_json: AsJson = False) -> None:
    """List the frames of which a person must say where they point, with the reason why the pipeline cannot.

    `toros solve ITEM --ra DEGREES --dec DEGREES` tries once more from there.
    """
    from toros.cli.views.review import frames_to_review

    with open_runner().database.read() as session:
        rows = frames_to_review(session)
    columns = ("item", "name", "object", "night", "filter", "exptime", "pointing", "reason")
    print_listing(rows, columns, as_json=as_json, empty="no frame waits for a person")


def solve(
    items: Annotated[list[int], typer.Argument(metavar="ITEM...", help="Numbers of frames on the list.")],
    ra: Annotated[float, typer.Option(help="Degrees, ICRS.")],
    dec: Annotated[float, typer.Option(help="Degrees, ICRS.")],
    radius: Annotated[float, typer.Option(help="Degrees by which that may be wrong.")] = 0.5,
    scale: Annotated[float | None, typer.Option(help="Arcsec per pixel, if it is known.")] = None,
    as_json: AsJson = False,
) -> None:
    """Solve frames of the review list from where a person says that they point; the next run measures them."""
    from toros.steps.solve import HandSolve

    step = HandSolve(ra=ra, dec=dec, radius=radius, scale=scale)
    finish(attempt_all(open_runner(), step, items), as_json=as_json)
