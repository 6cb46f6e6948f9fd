"""Master calibration frames and what they were made of."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model
from toros.models.exposures import CALIBRATION_TYPES, CalFile
from toros.models.observatory import CCD
from toros.models.stream import Item


class MasterCal(Item):
    """A combination of calibration exposures of one set-up: wanted, then made by a step, then accepted."""

    __table_args__: Any = (
        UniqueConstraint("set_key", "night", "version"),
        CheckConstraint(f"imagetype IN {CALIBRATION_TYPES!r}", name="is_calibration"),
        CheckConstraint("version > 0", name="version_is_positive"),
        Index("ix_mastercal_ccd_id_imagetype", "ccd_id", "imagetype"),
    )
    __mapper_args__ = {"polymorphic_identity": "MasterCal"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("item.id"), primary_key=True)
    imagetype: Mapped[str] = mapped_column(String(40))
    set_key: Mapped[str] = mapped_column(String(255))
    """The set-up in words, for example ``Dark|ccd=1|bin=1x1|gain=120|exptime=60``."""
    night: Mapped[dt.date]
    version: Mapped[int]
    ccd_id: Mapped[int] = mapped_column(ForeignKey("ccd.id"))
    xbinning: Mapped[int]
    ybinning: Mapped[int]
    naxis1: Mapped[int]
    naxis2: Mapped[int]
    gain_setting: Mapped[float | None]
    offset_setting: Mapped[float | None]
    readoutm: Mapped[str | None] = mapped_column(String(40))
    set_temp: Mapped[float | None]
    exptime: Mapped[float | None]
    filter: Mapped[str | None] = mapped_column(String(32))
    has_bias: Mapped[bool | None]
    """Whether the bias level is still in a master dark (it was made without a master bias)."""

    ccd: Mapped[CCD] = relationship()
    combinations: Mapped[list[Combination]] = relationship(back_populates="mastercal")


class Combination(Model):
    """A calibration exposure that went into a master."""

    __table_args__ = (UniqueConstraint("mastercal_id", "calfile_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    calfile_id: Mapped[int] = mapped_column(ForeignKey("calfile.id"), index=True)
    mastercal_id: Mapped[int] = mapped_column(ForeignKey("mastercal.id"))

    calfile: Mapped[CalFile] = relationship()
    mastercal: Mapped[MasterCal] = relationship(back_populates="combinations")
