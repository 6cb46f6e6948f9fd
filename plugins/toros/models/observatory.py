"""Where the frames come from: observatory, camera, campaign."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model


class Observatory(Model):
    """A site on Earth."""

    __table_args__ = (
        CheckConstraint("latitude >= -90 AND latitude <= 90", name="latitude_in_range"),
        CheckConstraint("longitude >= -180 AND longitude <= 360", name="longitude_in_range"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    latitude: Mapped[float]
    """Degrees, north positive."""
    longitude: Mapped[float]
    """Degrees, east positive."""
    elevation: Mapped[float | None]
    """Metres above sea level."""
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    description: Mapped[str | None] = mapped_column(Text)

    campaigns: Mapped[list[Campaign]] = relationship(back_populates="observatory", order_by="Campaign.id")

    def __repr__(self) -> str:
        return self.name


class CCD(Model):
    """A camera. What is unknown stays NULL, and the products say so in a caveat."""

    __table_args__ = (
        CheckConstraint("xpixsize > 0 AND ypixsize > 0", name="size_is_positive"),
        CheckConstraint("gain > 0", name="gain_is_positive"),
        CheckConstraint("read_noise >= 0", name="read_noise_is_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    brand: Mapped[str] = mapped_column(String(100))
    model: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(Text)
    xpixsize: Mapped[int]
    """Number of unbinned pixels along x (not their size: the name is TORITOS's)."""
    ypixsize: Mapped[int]
    """Number of unbinned pixels along y."""
    gain: Mapped[float | None]
    """Electrons per ADU."""
    read_noise: Mapped[float | None]
    """Electrons."""
    saturation: Mapped[float | None]
    """ADU."""
    pixel_size: Mapped[float | None]
    """Micrometres."""
    pixel_scale: Mapped[float | None]
    """Arcseconds per unbinned pixel."""
    profile: Mapped[str] = mapped_column(String(100))
    """The camera profile (a data file) that holds geometry, overscan and limits."""

    campaigns: Mapped[list[Campaign]] = relationship(back_populates="ccd", order_by="Campaign.id")

    def __repr__(self) -> str:
        return self.name


class Campaign(Model):
    """A camera at work at an observatory."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    observatory_id: Mapped[int] = mapped_column(ForeignKey("observatory.id"), index=True)
    ccd_id: Mapped[int] = mapped_column(ForeignKey("ccd.id"), index=True)

    observatory: Mapped[Observatory] = relationship(back_populates="campaigns")
    ccd: Mapped[CCD] = relationship(back_populates="campaigns")

    def __repr__(self) -> str:
        return self.name
