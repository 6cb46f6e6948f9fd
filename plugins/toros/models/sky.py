"""What is measured on the sky: solutions, sources, stacks, references, candidates and votes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model, OnSky, UTCDateTime, on_sky_checks, utcnow
from toros.models.exposures import Pawprint
from toros.models.products import Product
from toros.models.stream import Item


class Astrometry(OnSky, Model):
    """A plate solution; the position is that of the frame's centre."""

    __table_args__: Any = on_sky_checks()

    id: Mapped[int] = mapped_column(primary_key=True)
    pawprint_id: Mapped[int] = mapped_column(ForeignKey("pawprint.id"), index=True)
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), unique=True)
    pixel_scale: Mapped[float]
    """Arcseconds per pixel."""
    rotation: Mapped[float]
    """Position angle of the direction of +y: degrees, north to east."""
    mirrored: Mapped[bool]
    """East is to the right when north is up: not as on the sky."""
    rms: Mapped[float]
    """Arcseconds."""
    n_stars: Mapped[int]
    offset: Mapped[float | None]
    """Arcseconds between the pointing hint and the solution."""
    sip_order: Mapped[int]
    """Of the distortion polynomials; 1 is a plain TAN projection."""
    method: Mapped[str] = mapped_column(String(20))
    """Where the hint came from that led to the solution."""
    catalogue: Mapped[str] = mapped_column(String(60))

    pawprint: Mapped[Pawprint] = relationship()


class PhotometricZeroPoint(Model):
    """The magnitude of one electron per second in a frame."""

    id: Mapped[int] = mapped_column(primary_key=True)
    pawprint_id: Mapped[int] = mapped_column(ForeignKey("pawprint.id"), index=True)
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), unique=True)
    band: Mapped[str] = mapped_column(String(16))
    """Of the catalogue."""
    catalogue: Mapped[str] = mapped_column(String(60))
    zero_point: Mapped[float]
    error: Mapped[float]
    colour_term: Mapped[float | None]
    """Magnitudes per magnitude of the catalogue's colour."""
    scatter: Mapped[float]
    """Magnitudes, of one star about the zero point."""
    transparency: Mapped[float | None]
    """Share of the light that came through, compared with the best frames of earlier nights."""
    n_stars: Mapped[int]
    limiting_magnitude: Mapped[float | None]
    """Of a star with S/N 5."""

    pawprint: Mapped[Pawprint] = relationship()


class Stack(OnSky, Item):
    """A combination of solved frames of one field."""

    __table_args__: Any = on_sky_checks()
    __mapper_args__ = {"polymorphic_identity": "Stack"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("item.id"), primary_key=True)
    field: Mapped[str] = mapped_column(String(60), index=True)
    filter: Mapped[str | None] = mapped_column(String(32))
    night: Mapped[dt.date | None]
    version: Mapped[int]

    members: Mapped[list[StackMember]] = relationship(back_populates="stack")


class StackMember(Model):
    """A frame in a stack, with the weight it got."""

    stack_id: Mapped[int] = mapped_column(ForeignKey("stack.id"), primary_key=True)
    pawprint_id: Mapped[int] = mapped_column(ForeignKey("pawprint.id"), primary_key=True, index=True)
    weight: Mapped[float]

    stack: Mapped[Stack] = relationship(back_populates="members")
    pawprint: Mapped[Pawprint] = relationship()


class Reference(OnSky, Model):
    """The image of a field that new frames are compared with, from a certain moment on."""

    __table_args__: Any = on_sky_checks()

    id: Mapped[int] = mapped_column(primary_key=True)
    field: Mapped[str] = mapped_column(String(60), index=True)
    filter: Mapped[str | None] = mapped_column(String(32))
    fov: Mapped[float]
    """Degrees along the longer side."""
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"))
    stack_id: Mapped[int | None] = mapped_column(ForeignKey("stack.id"))
    valid_from: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)
    valid_until: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)

    product: Mapped[Product] = relationship()


class Source(OnSky, Model):
    """A detection in a measured frame."""

    __table_args__: Any = on_sky_checks()

    id: Mapped[int] = mapped_column(primary_key=True)
    pawprint_id: Mapped[int] = mapped_column(ForeignKey("pawprint.id"), index=True)
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), index=True)
    x: Mapped[float]
    """Pixels, the centre of the first one is 0."""
    y: Mapped[float]
    flux: Mapped[float]
    """Electrons in the exposure, by the fit of the point spread function."""
    flux_err: Mapped[float]
    aper_flux: Mapped[float | None]
    """Electrons in the exposure, in an aperture and corrected to a large one."""
    aper_flux_err: Mapped[float | None]
    snr: Mapped[float]
    fwhm: Mapped[float | None]
    """Pixels."""
    ellipticity: Mapped[float | None]
    mag: Mapped[float | None]
    """From the fitted flux; NULL where the frame has no zero point, or the flux is not positive."""
    mag_err: Mapped[float | None]
    """Of the flux alone; the zero point's error is common to the frame."""
    flags: Mapped[int] = mapped_column(default=0)
    """Bits of `toros.science.sources.SourceFlag`."""
    class_source: Mapped[str | None] = mapped_column(String(20))

    pawprint: Mapped[Pawprint] = relationship()


class Candidate(OnSky, Model):
    """Something in a difference image that was not there before, or is there no more."""

    __table_args__: Any = on_sky_checks()

    id: Mapped[int] = mapped_column(primary_key=True)
    pawprint_id: Mapped[int] = mapped_column(ForeignKey("pawprint.id"), index=True)
    reference_id: Mapped[int | None] = mapped_column(ForeignKey("reference.id"))
    stack_id: Mapped[int | None] = mapped_column(ForeignKey("stack.id"))
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), index=True)
    mag: Mapped[float]
    mag_err: Mapped[float]
    score: Mapped[float | None]
    """Probability of being real."""
    model_version: Mapped[str | None] = mapped_column(String(60))
    predicted: Mapped[str | None] = mapped_column(String(8))
    stamps_id: Mapped[int | None] = mapped_column(ForeignKey("product.id"))

    pawprint: Mapped[Pawprint] = relationship()
    votes: Mapped[list[Vote]] = relationship(back_populates="candidate")


class Vote(Model):
    """What one person says of one candidate."""

    __table_args__ = (
        UniqueConstraint("candidate_id", "person"),
        CheckConstraint("choice IN ('real', 'bogus', 'unsure')", name="choice_is_known"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"))
    person: Mapped[str] = mapped_column(String(100))
    choice: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)

    candidate: Mapped[Candidate] = relationship(back_populates="votes")
