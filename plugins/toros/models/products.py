"""Every file that the pipeline keeps, where it came from, and how good it is."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model, UTCDateTime, utcnow
from toros.models.runs import StepRun
from toros.models.stream import Item


class Product(Model):
    """A file below the data root. It exists if, and only if, this row exists."""

    __table_args__ = (
        UniqueConstraint("item_id", "kind", "version"),
        CheckConstraint("size >= 0", name="size_is_not_negative"),
        CheckConstraint("version > 0", name="version_is_positive"),
        Index(
            "ix_product_raw_checksum",
            "checksum",
            unique=True,
            sqlite_where=text("kind = 'raw'"),
            postgresql_where=text("kind = 'raw'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    kind: Mapped[str] = mapped_column(String(40))
    version: Mapped[int]
    path: Mapped[str] = mapped_column(Text, unique=True)
    """Relative to the data root."""
    size: Mapped[int] = mapped_column(BigInteger)
    checksum: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the file."""
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), index=True)
    caveats: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Codes of toros.caveats: what a reader of this product must know."""
    created_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)

    item: Mapped[Item] = relationship()
    steprun: Mapped[StepRun] = relationship()

    def __repr__(self) -> str:
        return f"<Product {self.id}: {self.path}>"


class Lineage(Model):
    """The output product was made from the input product."""

    __table_args__ = (CheckConstraint("input_id != output_id", name="not_of_itself"),)

    input_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    output_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True, index=True)


class QualityMeasure(Model):
    """A number that says how good an item is, measured by a step run."""

    __table_args__ = (UniqueConstraint("steprun_id", "item_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"), index=True)
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"))
    name: Mapped[str] = mapped_column(String(60))
    value: Mapped[float]
    unit: Mapped[str] = mapped_column(String(40), default="")
    colour: Mapped[str | None] = mapped_column(String(10))

    item: Mapped[Item] = relationship()

    def __repr__(self) -> str:
        return f"<{self.name} = {self.value:g} {self.unit}>"
