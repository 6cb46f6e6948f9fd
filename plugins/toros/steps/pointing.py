"""Where a frame may point, before its stars have told: hints, the most trusted first."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from toros.catalogues import Catalogue
from toros.models import Astrometry, Campaign, Pawprint
from toros.science.plate import Hint

ARCSEC_PER_RADIAN = 206264.806
NEIGHBOUR_HOURS = 1.0
"""A frame of the same camera and object, taken so long before or after, points to about the same place."""
FIELD_RADIUS = 3.0
"""Degrees; a catalogue that reaches no further is one of a single field."""
SCALES = (0.02, 120.0)
"""Arcsec per pixel; what a header says beyond these is not the scale of a telescope."""


@dataclass(frozen=True)
class Pointing:
    """A hint, and where it comes from."""

    method: str
    hint: Hint

    def doubted(self, radius: float) -> tuple[Pointing, ...]:
        """Return the same with less trust in the place, and then with none in the scale."""
        far_off = Pointing("wide", replace(self.hint, radius=radius))
        any_scale = Pointing("any scale", replace(self.hint, scale=None))
        return (far_off, any_scale) if self.hint.scale else (any_scale,)


@dataclass(frozen=True)
class Attempt:
    """A hint, and the reference stars of the sky around it."""

    pointing: Pointing
    stars: Table
    catalogue: str


def pointings_of(session: Session, frame: Pawprint, radius: float) -> tuple[Pointing, ...]:
    """Return what rows tell: where the telescope was told to point or, failing that, where it pointed shortly before.

    What the frame itself says comes first, so that what becomes of it does not depend on which frame was solved
    before it.

    Parameters
    ----------
    session : Session
    frame : Pawprint
    radius : float
        Degrees by which the capture program may be wrong.
    """
    if frame.ra is not None and frame.dec is not None:
        return (Pointing("header", Hint(frame.ra, frame.dec, radius, scale_of(session, frame))),)
    beside = _neighbour(session, frame)
    if beside is None:
        return ()
    return (Pointing("neighbour", Hint(beside.ra, beside.dec, radius, beside.pixel_scale)),)


def pointing_of_header(header: fits.Header, shape: tuple[int, int], radius: float) -> tuple[Pointing, ...]:
    """Return the centre and the scale of the WCS that a capture program wrote, if there is one that makes sense."""
    if "CRVAL1" not in header or not {"CD1_1", "CDELT1"}.intersection(header):
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, naxis=2, relax=True)
            scale = float(np.mean(proj_plane_pixel_scales(wcs))) * 3600
            centre = wcs.pixel_to_world_values((shape[1] - 1) / 2, (shape[0] - 1) / 2)
        except (ValueError, TypeError, KeyError):  # what astropy raises for cards that contradict each other
            return ()
    ra, dec = (float(coordinate) for coordinate in centre)
    if not wcs.has_celestial or not SCALES[0] < scale < SCALES[1] or not np.isfinite([ra, dec]).all():
        return ()
    return (Pointing("header wcs", Hint(ra % 360, dec, radius, scale)),)


def pointings_of_catalogues(catalogues: Iterable[Catalogue], scale: float | None) -> tuple[Pointing, ...]:
    """Return the fields of those catalogues that hold a single one: whoever loads such a catalogue looks there."""
    fields = [catalogue.description.coverage for catalogue in catalogues]
    return tuple(
        Pointing("catalogue", Hint(field.ra, field.dec, field.radius, scale))
        for field in fields
        if field.radius <= FIELD_RADIUS
    )


def proven_scale(session: Session, frame: Pawprint) -> float | None:
    """Return the arcsec per pixel that the last solved frame of the same camera and binning has, if there is one."""
    return session.scalar(
        select(Astrometry.pixel_scale)
        .join(Astrometry.pawprint)
        .where(Pawprint.campaign_id == frame.campaign_id, Pawprint.xbinning == frame.xbinning)
        .order_by(Astrometry.id.desc())
        .limit(1)
    )


def scale_of(session: Session, frame: Pawprint) -> float | None:
    """Return arcsec per pixel: as a person said, as the header says, or as other frames of the camera told."""
    if frame.campaign.ccd.pixel_scale is not None:
        return frame.campaign.ccd.pixel_scale * frame.xbinning
    if frame.xpixsz and frame.focal_length_mm:
        scale = ARCSEC_PER_RADIAN * frame.xpixsz / 1000 / frame.focal_length_mm
        if SCALES[0] < scale < SCALES[1]:
            return scale
    return proven_scale(session, frame)


def _neighbour(session: Session, frame: Pawprint) -> Astrometry | None:
    """Return the solution of the frame nearest in time, of the same camera and object."""
    distance = func.abs(Pawprint.jd - frame.jd)
    return session.scalar(
        select(Astrometry)
        .join(Astrometry.pawprint)
        .join(Pawprint.campaign)
        .where(
            Campaign.ccd_id == frame.campaign.ccd_id,
            Pawprint.xbinning == frame.xbinning,
            Pawprint.object_.is_(None) if frame.object_ is None else Pawprint.object_ == frame.object_,
            Pawprint.id != frame.id,
            distance < NEIGHBOUR_HOURS / 24,
        )
        .order_by(distance, Astrometry.id.desc())
        .limit(1)
    )
