"""What comes in: arrivals in the watched folder, science exposures and calibration exposures."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from toros.models.base import Model, UTCDateTime
from toros.models.observatory import Campaign
from toros.models.stream import Item

if TYPE_CHECKING:
    from toros.models.sky import Field

CALIBRATION_TYPES = ("Bias", "Dark", "Flat")


class Arrival(Item):
    """A file seen in a watched folder: this very path, size and time of change. Nothing seen is forgotten."""

    __table_args__: Any = (
        UniqueConstraint("path", "size", "mtime_ns"),
        CheckConstraint("size >= 0", name="size_is_not_negative"),
    )
    id: Mapped[int] = mapped_column(ForeignKey("item.id"), primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger, index=True)
    exposure_id: Mapped[int | None] = mapped_column(ForeignKey("item.id"))
    """The pawprint or calibration frame that holds this content."""

    exposure: Mapped[Item | None] = relationship(foreign_keys=[exposure_id])
    rejection: Mapped[Rejection | None] = relationship(back_populates="arrival")

    # Two foreign keys lead to item: this one is the inheritance.
    __mapper_args__ = {"polymorphic_identity": "Arrival", "inherit_condition": id == Item.id}  # noqa: RUF012, A003


class Rejection(Model):
    """Why an arrival was refused, and what to do about it."""

    id: Mapped[int] = mapped_column(primary_key=True)
    arrival_id: Mapped[int] = mapped_column(ForeignKey("arrival.id"), unique=True)
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"))
    code: Mapped[str] = mapped_column(String(60), index=True)
    reason: Mapped[str] = mapped_column(Text)
    advice: Mapped[str] = mapped_column(Text)

    arrival: Mapped[Arrival] = relationship(back_populates="rejection")

    def __repr__(self) -> str:
        return f"<Rejection {self.code}: {self.reason}>"


class ExposureColumns:
    """What the header of one exposure says (TORITOS's columns, and filter, gain and pointing)."""

    name: Mapped[str] = mapped_column(String(255))
    """File name as it arrived."""
    checksum: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of the raw file: the same content is never registered twice."""
    night: Mapped[dt.date] = mapped_column(index=True)
    """Observing night, local noon to noon, named by its evening."""
    jd: Mapped[float]
    """Julian date (UTC) of the start of the exposure."""
    observation_date: Mapped[dt.datetime] = mapped_column(UTCDateTime)
    exptime: Mapped[float]
    """Seconds."""
    imagetype: Mapped[str] = mapped_column(String(32))
    filter: Mapped[str | None] = mapped_column(String(32))
    object_: Mapped[str | None] = mapped_column("object_", String(80))
    observer: Mapped[str | None] = mapped_column(String(80))
    dialect: Mapped[str] = mapped_column(String(40))
    simple: Mapped[str | None] = mapped_column(String(8))
    bitpix: Mapped[int]
    naxis: Mapped[int]
    naxis1: Mapped[int]
    naxis2: Mapped[int]
    bscale: Mapped[float | None]
    bzero: Mapped[float | None]
    xbinning: Mapped[int]
    ybinning: Mapped[int]
    ccdtemp: Mapped[float | None]
    """Degrees Celsius."""
    set_temp: Mapped[float | None]
    xpixsz: Mapped[float | None]
    """Micrometres, binned."""
    ypixsz: Mapped[float | None]
    focal_length_mm: Mapped[float | None]
    """As the header says: with the size of the pixels, a hint at their scale."""
    readoutm: Mapped[str | None] = mapped_column(String(40))
    gain_setting: Mapped[float | None]
    offset_setting: Mapped[float | None]
    egain: Mapped[float | None]
    """Electrons per ADU, as the header says."""
    bayer: Mapped[str | None] = mapped_column(String(8))
    ra: Mapped[float | None]
    """Pointing, degrees: a hint, not a measurement."""
    dec: Mapped[float | None]

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"), index=True)

    @declared_attr
    def campaign(cls) -> Mapped[Campaign]:  # noqa: N805
        """Relate to the camera and site that took it."""
        return relationship()


def exposure_checks(imagetypes: str) -> tuple[CheckConstraint, ...]:
    """Return the constraints of a table of exposures that holds these image types (as SQL)."""
    return (
        CheckConstraint(f"imagetype IN {imagetypes}", name="imagetype_belongs_here"),
        CheckConstraint("exptime >= 0", name="exptime_is_not_negative"),
        CheckConstraint("xbinning > 0 AND ybinning > 0", name="binning_is_positive"),
        CheckConstraint("naxis1 > 0 AND naxis2 > 0", name="image_is_not_empty"),
    )


class Pawprint(ExposureColumns, Item):
    """A science exposure."""

    __table_args__: Any = exposure_checks("('Science')")
    __mapper_args__ = {"polymorphic_identity": "Pawprint"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("item.id"), primary_key=True)
    field_id: Mapped[int | None] = mapped_column(ForeignKey("field.id"), index=True)
    """The region of the sky it shows, known when it is measured."""

    field: Mapped[Field | None] = relationship()


class CalFile(ExposureColumns, Item):
    """A bias, dark or flat exposure."""

    __table_args__: Any = exposure_checks(str(CALIBRATION_TYPES))
    __mapper_args__ = {"polymorphic_identity": "CalFile"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("item.id"), primary_key=True)
    level: Mapped[float | None]
    """Median of the frame in ADU, measured when it was cleaned."""
    noise: Mapped[float | None]
    """Robust scatter of the frame in ADU, measured when it was cleaned."""


Exposure = Pawprint | CalFile
