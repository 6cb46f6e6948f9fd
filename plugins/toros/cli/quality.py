"""``toros quality``: what each measure means, its limits, and the colours of an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from toros.cli.output import AsJson, print_json, print_listing, print_rows
from toros.cli.stream import effective_settings, open_runner

if TYPE_CHECKING:
    from toros.quality.limits import QualityLimits

LIMIT_COLUMNS = ("measure", "camera", "unit", "bad", "yellow", "orange", "red", "meaning")
MEASURE_COLUMNS = ("measure", "value", "unit", "colour", "run", "reason")


def quality(
    item: Annotated[
        int | None,
        typer.Argument(metavar="ITEM", help="Number of an item; without it, the limits are listed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the measures of quality with their limits; or those of one item, with their colours and the reasons."""
    from toros.quality.limits import read_limits

    limits = read_limits(effective_settings().quality_limits)
    if item is None:
        print_listing(_limit_rows(limits), LIMIT_COLUMNS, as_json=as_json)
        return
    sheet = _sheet(item, limits)
    if as_json:
        print_json(sheet)
        return
    print_rows(
        sheet["measures"], MEASURE_COLUMNS, title=f"{sheet['kind']} {item}: {sheet['colour'] or 'not judged'}"
    )


def _limit_rows(limits: QualityLimits) -> list[dict[str, Any]]:
    """Return a row for each measure, and below it one for each camera with limits of its own."""
    rows = []
    for name, common in limits.measures.items():
        by_camera = [(camera, own[name]) for camera, own in limits.cameras.items() if name in own]
        for camera, measure in [(None, common), *by_camera]:
            rows.append({"measure": name, "camera": camera, **measure.model_dump()})
    return rows


def _sheet(item_id: int, limits: QualityLimits) -> dict[str, Any]:
    """Return the newest measures of an item, each with its colour.

    Raises
    ------
    UnknownItem
        There is no item of that number.
    """
    from toros.errors import UnknownItem
    from toros.models import Item
    from toros.quality.record import cameras_of, judged_measures, worst_colour

    with open_runner().database.read() as session:
        item = session.get(Item, item_id)
        if item is None:
            raise UnknownItem(f"there is no item {item_id}", advice="`toros status` shows what there is")
        measures = judged_measures(session, [item_id], limits)[item_id]
        return {
            "item": item_id,
            "kind": item.kind,
            "camera": cameras_of(session, [item_id]).get(item_id),
            "colour": worst_colour(measures),
            "measures": [
                {
                    "measure": measure.name,
                    "value": measure.value,
                    "unit": measure.unit,
                    "colour": measure.colour,
                    "run": measure.run_id,
                    "reason": measure.reason,
                }
                for measure in measures
                if measure.is_newest
            ],
        }
