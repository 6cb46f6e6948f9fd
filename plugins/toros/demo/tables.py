"""What became of the night, as tables."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import Arrival, CalFile, MasterCal, Pawprint, Product, QualityMeasure, Rejection
from toros.models.database import Database
from toros.quality.judge import Colour

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


def pictures(database: Database) -> list[str]:
    """Return the paths of the pictures of all frames, below the data root."""
    with database.read() as session:
        return list(
            session.scalars(select(Product.path).where(Product.kind == "picture").order_by(Product.path))
        )


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
