"""What is measured on the sky: solutions, sources, stacks, references, candidates and votes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model, OnSky, UTCDateTime, on_sky_checks, utcnow
from toros.models.exposures import Pawprint
from toros.models.observatory import Campaign
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


class Field(OnSky, Model):
    """A region of the sky that a camera looks at again and again: where its frames point, not what they are called."""

    __table_args__: Any = (UniqueConstraint("campaign_id", "name"), *on_sky_checks())

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    """From the position of its centre: hours and minutes, degrees and minutes."""
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    radius: Mapped[float]
    """Degrees: a frame whose centre is within it belongs to the field."""

    campaign: Mapped[Campaign] = relationship()

    def __repr__(self) -> str:
        return self.name


class Stack(OnSky, Item):
    """A combination of measured frames of one field and filter: of one night, or of the best of all nights."""

    __table_args__: Any = (
        UniqueConstraint("set_key", "version"),
        CheckConstraint("version > 0", name="version_is_positive"),
        *on_sky_checks(),
    )
    __mapper_args__ = {"polymorphic_identity": "Stack"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("item.id"), primary_key=True)
    field_id: Mapped[int] = mapped_column(ForeignKey("field.id"), index=True)
    set_key: Mapped[str] = mapped_column(String(255))
    """What it is of, in words, for example ``field=3|filter=V|night=2026-11-20``; without a night it is a deep one."""
    filter: Mapped[str | None] = mapped_column(String(32))
    night: Mapped[dt.date | None]
    version: Mapped[int]
    zero_point: Mapped[float | None]
    """Magnitude of one unit of its pixels."""
    fwhm: Mapped[float | None]
    """Arcseconds."""
    limiting_magnitude: Mapped[float | None]
    """Of a star with S/N 5."""

    field: Mapped[Field] = relationship()
    members: Mapped[list[StackMember]] = relationship(back_populates="stack")

    @property
    def name(self) -> str:
        """What it is called among people."""
        what = self.night.isoformat() if self.night else "deep"
        return "-".join(part for part in (self.field.name, self.filter, what, f"v{self.version}") if part)


class StackMember(Model):
    """A frame in a stack, with the weight it got."""

    stack_id: Mapped[int] = mapped_column(ForeignKey("stack.id"), primary_key=True)
    pawprint_id: Mapped[int] = mapped_column(ForeignKey("pawprint.id"), primary_key=True, index=True)
    weight: Mapped[float | None]
    """Share of the stack; NULL as long as it is not made."""
    clipped: Mapped[float | None]
    """Part of its pixels that was left out."""

    stack: Mapped[Stack] = relationship(back_populates="members")
    pawprint: Mapped[Pawprint] = relationship()


class Reference(OnSky, Model):
    """The image of a field that new frames are compared with, from a certain moment on."""

    __table_args__: Any = on_sky_checks()

    id: Mapped[int] = mapped_column(primary_key=True)
    field_id: Mapped[int] = mapped_column(ForeignKey("field.id"), index=True)
    filter: Mapped[str | None] = mapped_column(String(32))
    fov: Mapped[float]
    """Degrees along the longer side."""
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"))
    stack_id: Mapped[int] = mapped_column(ForeignKey("stack.id"))
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"))
    valid_from: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)
    valid_until: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    """When it was replaced; differences made with it stay valid."""

    field: Mapped[Field] = relationship()
    product: Mapped[Product] = relationship()
    stack: Mapped[Stack] = relationship()


class Candidate(OnSky, Item):
    """Something on the sky that was not there before, or is there no more: one object, however often it was seen."""

    __table_args__: Any = on_sky_checks()
    __mapper_args__ = {"polymorphic_identity": "Candidate"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("item.id"), primary_key=True)
    field_id: Mapped[int] = mapped_column(ForeignKey("field.id"), index=True)
    kind_of_object: Mapped[str] = mapped_column(String(20), default="unknown")
    """unknown, star (at a star of the catalogue), variable (a known one) or mover."""
    counterpart: Mapped[str | None] = mapped_column(String(80))
    """What is known at its place, and at which distance."""
    score: Mapped[float | None]
    """The highest probability of being real that a detection of it has."""
    predicted: Mapped[str | None] = mapped_column(String(8))
    """real or bogus: by the score and the threshold of its model."""

    field: Mapped[Field] = relationship()
    detections: Mapped[list[Detection]] = relationship(
        back_populates="candidate", order_by="Detection.pawprint_id"
    )
    votes: Mapped[list[Vote]] = relationship(back_populates="candidate")

    @property
    def name(self) -> str:
        """What it is called among people."""
        return f"{self.field.name} candidate {self.id}"


class Detection(OnSky, Model):
    """A candidate in one difference image; an upper limit if it was looked for and did not stand out."""

    __table_args__: Any = (
        UniqueConstraint("candidate_id", "pawprint_id", "reference_id"),
        *on_sky_checks(),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"))
    pawprint_id: Mapped[int] = mapped_column(ForeignKey("pawprint.id"), index=True)
    reference_id: Mapped[int] = mapped_column(ForeignKey("reference.id"))
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), index=True)
    x: Mapped[float]
    """Pixels, the centre of the first one is 0."""
    y: Mapped[float]
    forced: Mapped[bool]
    """Measured at the place of the candidate, not found by itself."""
    flux: Mapped[float]
    """Electrons in the exposure, negative for what has faded."""
    flux_err: Mapped[float]
    snr: Mapped[float]
    mag: Mapped[float | None]
    """Of the size of the difference; NULL without a zero point, or where nothing stands out."""
    mag_err: Mapped[float | None]
    upper_limit: Mapped[float | None]
    """Where it was not seen: magnitude of a star that would have stood out there at 5 sigma."""
    flags: Mapped[int] = mapped_column(default=0)
    """Bits of `toros.science.candidates.CandidateFlag`."""
    score: Mapped[float | None]
    """Probability of being real."""
    model_version: Mapped[str | None] = mapped_column(String(60))
    stamp: Mapped[int | None]
    """Which row it is of the stamps in the product ``candidates`` that the same run made."""

    candidate: Mapped[Candidate] = relationship(back_populates="detections")
    pawprint: Mapped[Pawprint] = relationship()
    reference: Mapped[Reference] = relationship()


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
