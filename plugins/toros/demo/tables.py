"""What became of the nights, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.demo.recovery import Recovery
from toros.models import Arrival, CalFile, MasterCal, Pawprint, Product, QualityMeasure, Rejection, Stack
from toros.models.database import Database
from toros.quality.judge import Colour
from toros.sim import Change

FRAME_MEASURES = {
    "fwhm": 'FWHM "',
    "star_count": "stars",
    "astrometric_rms": 'WCS rms "',
    "zero_point": "zero point",
    "limiting_magnitude": "limit mag",
}
"""What the table of the frames shows, under which heading."""

TERMINAL_COLOURS = {
    Colour.GREEN: "green",
    Colour.YELLOW: "yellow",
    Colour.ORANGE: "dark_orange",
    Colour.RED: "red",
}


def rejections_table(database: Database) -> Table:
    """Return what was registered, by image type, and what was not, with the reason."""
    table = _table("Files", "file", "outcome", "why")
    query = (
        select(Arrival, Rejection).join(Rejection, Rejection.arrival_id == Arrival.id).order_by(Arrival.id)
    )
    with database.read() as session:
        for imagetype in ("Bias", "Dark", "Flat"):
            frames = session.scalars(select(CalFile).where(CalFile.imagetype == imagetype)).all()
            table.add_row(f"{len(frames)} {imagetype.lower()} frames", "registered", "")
        table.add_row(f"{len(session.scalars(select(Pawprint)).all())} science frames", "registered", "")
        for arrival, rejection in session.execute(query):
            name = arrival.path.rpartition("/")[2]
            table.add_row(escape(name), f"[yellow]{rejection.code}[/yellow]", escape(rejection.reason))
    return table


def masters_table(database: Database) -> Table:
    """Return the master frames."""
    table = _table("Master frames", "set", "frames", "level", "error", "bad pixels", "state", "caveats")
    query = select(MasterCal, Product).join(Product, Product.item_id == MasterCal.id).order_by(MasterCal.id)
    with database.read() as session:
        for master, product in session.execute(query):
            measures = _measures(session, master.id)
            table.add_row(
                _set_name(master),
                f"{measures['frames']:.0f}",
                f"{measures['level']:.4g}",
                f"{measures['uncertainty']:.2g}",
                f"{measures['bad_pixel_fraction']:.3%}",
                master.state.name,
                " ".join(product.caveats),
            )
    return table


def frames_table(database: Database) -> Table:
    """Return the science frames: where they point, how deep they go, and how good they are."""
    table = _table("Science frames", "frame", "state", *FRAME_MEASURES.values(), "quality", "caveats")
    frames = select(Pawprint).order_by(Pawprint.observation_date, Pawprint.id)
    with database.read() as session:
        for frame in session.scalars(frames):
            measures = _measures(session, frame.id)
            table.add_row(
                escape(frame.name),
                frame.state.name,
                *(f"{measures[name]:.4g}" if name in measures else "" for name in FRAME_MEASURES),
                _worst_colour(session, frame.id),
                " ".join(_caveats(session, frame.id)),
            )
    return table


def stacks_table(database: Database) -> Table:
    """Return the stacks: what they are of, how deep they go, and whether they are compared with."""
    table = _table("Stacks", "stack", "frames", 'FWHM "', "limit mag", "state", "caveats")
    with database.read() as session:
        for stack in session.scalars(select(Stack).order_by(Stack.id)):
            table.add_row(
                stack.name,
                str(len(stack.members)),
                f"{stack.fwhm:.4g}" if stack.fwhm else "",
                f"{stack.limiting_magnitude:.4g}" if stack.limiting_magnitude else "",
                stack.state.name,
                " ".join(_caveats(session, stack.id)),
            )
    return table


def candidates_table(rows: Sequence[Mapping[str, Any]], named: Mapping[int, Mapping[str, str]]) -> Table:
    """Return the candidates that are real, by the model or in truth, the most probable first.

    Parameters
    ----------
    rows : sequence of mappings
        As ``toros candidate list`` shows them.
    named : mapping
        As `toros.demo.recovery.name_detections` returns it.
    """
    columns = ("candidate", "ra", "dec", "mag", "frames", "score", "model", "state", "in truth")
    table = _table("Candidates", *columns)
    hidden = 0
    for row in rows:
        truth = sorted(set(named.get(row["item"], {}).values()))
        if row["predicted"] != "real" and not truth:
            hidden += 1
            continue
        table.add_row(
            str(row["item"]),
            f"{row['ra']:.5f}",
            f"{row['dec']:+.5f}",
            f"{row['mag']:.2f}" if row["mag"] is not None else "",
            str(row["detections"]),
            f"{row['score']:.2f}",
            row["predicted"],
            row["state"],
            ", ".join(truth) or "[red]nothing[/red]",
        )
    table.caption = f"and {hidden} that the model takes for bogus, and that are nothing in truth"
    table.caption_justify = "left"
    return table


def recovery_table(recovered: Mapping[Change, Recovery], false_ones: int) -> Table:
    """Return how much of what has changed was found, and how much was found besides."""
    table = _table("What has changed, and was found", "kind", "objects", "images on frames")
    for kind, one in recovered.items():
        table.add_row(kind, f"{one.objects_found} of {one.objects}", f"{one.images_found} of {one.images}")
    table.add_row("nothing in truth", str(false_ones), "")
    return table


def product_paths(database: Database, kind: str) -> list[str]:
    """Return the paths of the products of a kind, below the data root."""
    with database.read() as session:
        return list(session.scalars(select(Product.path).where(Product.kind == kind).order_by(Product.path)))


def _worst_colour(session: Session, item_id: int) -> str:
    colours = session.scalars(
        select(QualityMeasure.colour).where(
            QualityMeasure.item_id == item_id, QualityMeasure.colour.is_not(None)
        )
    ).all()
    worst = max(map(Colour, filter(None, colours)), default=None)
    return f"[{TERMINAL_COLOURS[worst]}]{worst}[/]" if worst else ""


def _caveats(session: Session, item_id: int) -> list[str]:
    newest = select(Product).where(Product.item_id == item_id).order_by(Product.id.desc()).limit(1)
    product = session.scalar(newest)
    return product.caveats if product else []


def _set_name(master: MasterCal) -> str:
    parts = [master.imagetype, f"{master.exptime:g} s" if master.exptime else None, master.filter]
    return " ".join(part for part in parts if part)


def _measures(session: Session, item_id: int) -> dict[str, float]:
    rows = session.execute(
        select(QualityMeasure.name, QualityMeasure.value).where(QualityMeasure.item_id == item_id)
    )
    return dict(rows.all())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "frame")
    return table
