"""One item: what it is, what became of it, what was made of it, and how good it is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session, aliased

from toros.caveats import LEGEND, Caveat
from toros.cli.views.runs import run_row
from toros.errors import UnknownItem
from toros.models import (
    Arrival,
    CalFile,
    Combination,
    Item,
    Lineage,
    MasterCal,
    Pawprint,
    Product,
    QualityMeasure,
    StateChange,
    StepRun,
)

Rows = list[dict[str, Any]]


def item_sheet(session: Session, item_id: int, kind: type[Item] = Item) -> dict[str, Any]:
    """Return all that is known of an item.

    Raises
    ------
    UnknownItem
        There is no item of that number and kind.
    """
    item = session.get(Item, item_id)
    if item is None or not isinstance(item, kind):
        there = f"it is {item!r}" if item is not None else "there is none"
        raise UnknownItem(f"{kind.__name__} {item_id}: {there}", advice="`toros status` shows what there is")
    sheet: dict[str, Any] = {
        "item": _columns(item),
        "history": _history(session, item_id),
        "runs": [
            run_row(run)
            for run in session.scalars(select(StepRun).where(StepRun.item_id == item_id).order_by(StepRun.id))
        ],
        "products": _products(session, item_id),
        "made_from": _lineage(session, item_id, upwards=True),
        "used_in": _lineage(session, item_id, upwards=False),
        "quality": _quality(session, item_id),
    }
    if isinstance(item, Arrival) and item.rejection is not None:
        sheet["rejection"] = {name: getattr(item.rejection, name) for name in ("code", "reason", "advice")}
    if isinstance(item, MasterCal):
        sheet["frames"] = _frames(session, item_id)
    return sheet


def explained(caveats: list[str]) -> dict[str, str]:
    """Spell caveats out."""
    legend = {str(caveat): LEGEND[caveat] for caveat in Caveat}
    return {code: legend.get(code, "a caveat that this version does not know") for code in caveats}


def _columns(item: Item) -> dict[str, Any]:
    columns = {attribute.key: getattr(item, attribute.key) for attribute in inspect(item).mapper.column_attrs}
    columns["state"] = item.state.name
    if isinstance(item, Pawprint | CalFile):
        campaign = item.campaign
        columns |= {"campaign": campaign.name, "camera": campaign.ccd.name}
        columns["observatory"] = campaign.observatory.name
    if isinstance(item, MasterCal):
        columns["camera"] = item.ccd.name
    return columns


def _history(session: Session, item_id: int) -> Rows:
    changes = session.scalars(
        select(StateChange).where(StateChange.item_id == item_id).order_by(StateChange.count)
    )
    return [
        {
            "count": change.count,
            "at": change.created_at,
            "state": change.nw_state.name,
            "is_error": change.nw_state.is_error,
            "run": change.steprun_id,
            "step": change.steprun.step,
            "by": change.steprun.parameters.get("person"),
            "why": change.steprun.why or change.steprun.parameters.get("reason") or None,
        }
        for change in changes
    ]


def _products(session: Session, item_id: int) -> Rows:
    products = session.scalars(
        select(Product).where(Product.item_id == item_id).order_by(Product.kind, Product.version)
    )
    return [
        {
            "product": product.id,
            "kind": product.kind,
            "version": product.version,
            "path": product.path,
            "bytes": product.size,
            "checksum": product.checksum,
            "run": product.steprun_id,
            "created_at": product.created_at,
            "caveats": explained(product.caveats),
        }
        for product in products
    ]


def _lineage(session: Session, item_id: int, *, upwards: bool) -> Rows:
    """Return the products on the other side: those that this item's are made from, or those made from them."""
    own, other = aliased(Product), aliased(Product)
    here, there = (Lineage.output_id, Lineage.input_id) if upwards else (Lineage.input_id, Lineage.output_id)
    query = (
        select(other.id, other.kind, other.version, other.item_id, Item.kind.label("of"), other.path)
        .join(Lineage, there == other.id)
        .join(own, here == own.id)
        .join(Item, Item.id == other.item_id)
        .where(own.item_id == item_id)
        .distinct()
        .order_by(other.id)
    )
    names = ("product", "kind", "version", "item", "of", "path")
    return [dict(zip(names, row, strict=True)) for row in session.execute(query)]


def _quality(session: Session, item_id: int) -> Rows:
    measures = session.scalars(
        select(QualityMeasure).where(QualityMeasure.item_id == item_id).order_by(QualityMeasure.id)
    )
    return [
        {
            "name": measure.name,
            "value": measure.value,
            "unit": measure.unit,
            "colour": measure.colour,
            "run": measure.steprun_id,
        }
        for measure in measures
    ]


def _frames(session: Session, item_id: int) -> Rows:
    frames = session.scalars(
        select(CalFile)
        .join(Combination, Combination.calfile_id == CalFile.id)
        .where(Combination.mastercal_id == item_id)
        .order_by(CalFile.observation_date, CalFile.id)
    )
    return [
        {
            "item": frame.id,
            "name": frame.name,
            "observation_date": frame.observation_date,
            "exptime": frame.exptime,
            "ccdtemp": frame.ccdtemp,
            "level": frame.level,
            "noise": frame.noise,
            "state": frame.state.name,
            "is_error": frame.state.is_error,
        }
        for frame in frames
    ]
