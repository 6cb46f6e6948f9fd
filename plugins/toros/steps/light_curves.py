"""Light curves out of the database: the sources of a field in one filter, and what they say about one star."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from toros.errors import BadParameters, UnknownItem
from toros.models import Astrometry, Pawprint, PhotometricZeroPoint, Source
from toros.models.cone import within
from toros.science.healpix import is_within
from toros.science.light_curve import LightCurve, build_light_curve
from toros.science.magnitudes import POGSON
from toros.science.sources import SourceFlag
from toros.steps.photometry_rules import NO_FILTER

_SPOILT = SourceFlag.SATURATED | SourceFlag.EDGE | SourceFlag.BAD_PIXELS | SourceFlag.COSMIC_RAY
"""A source with one of these is no measure of a comparison star."""

_FIELD = 0.5
"""Degrees around the star in which comparison stars are looked for."""

_BRIGHT = 20.0
"""Signal-to-noise ratio of a comparison star."""

_SEARCH_RADIUS = 20.0
"""Arcsec around a position in which a frame must have a source to be of interest."""

_FALLBACK_RADIUS = 3.0
"""Arcsec, where the width of the stars is not known."""


@dataclass(frozen=True, eq=False)
class ObservedLightCurve:
    """A light curve, and when and in what it was observed."""

    curve: LightCurve
    table: Table
    """The points in the order of time: jd (UTC, middle of the exposure), exptime (s), pawprint and name of the frame,
    and the columns of `LightCurve.points` without the number of the frame."""
    filter: str | None
    is_calibrated: bool
    """Whether the magnitudes are on the scale of a catalogue; else they are instrumental."""
    radius: float
    """Arcsec within which sources were taken for the same star."""


def light_curve_of(
    session: Session,
    ra: float,
    dec: float,
    *,
    radius: float | None = None,
    filter_name: str | None = None,
    field: str | None = None,
    aperture: bool = False,
) -> ObservedLightCurve:
    """Build the light curve of the star at a position from all frames that show it.

    Parameters
    ----------
    session : Session
    ra, dec : float
        ICRS degrees.
    radius : float, optional
        Arcsec by which the position may be off; by default half the width of the stars, or three times the
        residual of the plate solutions where that is more.
    filter_name : str, optional
        Only frames taken with this filter; needed where there are several.
    field : str, optional
        Only frames of this object or field, as the OBJECT card says.
    aperture : bool
        Take the aperture fluxes instead of those of the PSF fit.

    Returns
    -------
    ObservedLightCurve

    Raises
    ------
    UnknownItem
        No measured frame shows the place.
    BadParameters
        The frames were taken with several filters, and none was chosen.
    TooFewFrames, TooFewStars
        The star, or comparison stars, were not measured.
    """
    frames = _frames_of(session, ra, dec, filter_name, field)
    width = _half_width(session, frames)
    search = width if radius is None else radius
    sources = _sources_of(session, frames, (ra, dec), search + width, aperture=aperture)
    level = _level(session, frames)
    sources["mag"] += level or 0.0
    curve = build_light_curve(sources, ra, dec, radius=width, search=search, least_snr=_BRIGHT)
    return ObservedLightCurve(
        curve=curve,
        table=_dated(curve, frames),
        filter=frames[0].filter,
        is_calibrated=level is not None,
        radius=width,
    )


def _frames_of(
    session: Session, ra: float, dec: float, filter_name: str | None, field: str | None
) -> list[Pawprint]:
    """Return the frames with a source near the place, in the order of time; all of one filter."""
    near = select(Source.pawprint_id).where(*within(Source, ra, dec, _SEARCH_RADIUS / 3600))
    query = select(Pawprint).where(Pawprint.id.in_(near)).order_by(Pawprint.jd, Pawprint.id)
    if field is not None:
        query = query.where(Pawprint.object_ == field)
    frames = list(session.scalars(query))
    if filter_name is not None:
        wanted = None if filter_name == NO_FILTER else filter_name
        frames = [frame for frame in frames if frame.filter == wanted]
    if not frames:
        raise UnknownItem(
            f"no measured frame shows {ra:.5f} {dec:+.5f}", advice="look at position, filter and field"
        )
    filters = Counter(frame.filter or NO_FILTER for frame in frames)
    if len(filters) > 1:
        counts = ", ".join(f"{name} ({number} frames)" for name, number in filters.most_common())
        raise BadParameters(
            f"there are frames in several filters: {counts}", advice="choose one with --filter"
        )
    return frames


def _half_width(session: Session, frames: Sequence[Pawprint]) -> float:
    """Return half the width of the stars (arcsec), or three times the residual of the solutions if that is more."""
    width, residual = session.execute(
        select(func.avg(Source.fwhm * Astrometry.pixel_scale), func.avg(Astrometry.rms))
        .join(Astrometry, Astrometry.pawprint_id == Source.pawprint_id)
        .where(Source.pawprint_id == frames[len(frames) // 2].id, Source.snr >= _BRIGHT)
    ).one()
    return max(width / 2, 3 * residual) if width else _FALLBACK_RADIUS


def _newest(model: type[Source | PhotometricZeroPoint], frames: Sequence[Pawprint]) -> Select[Any]:
    """Return the runs that measured frames last."""
    return (
        select(func.max(model.steprun_id))
        .where(model.pawprint_id.in_([frame.id for frame in frames]))
        .group_by(model.pawprint_id)
    )


def _sources_of(
    session: Session,
    frames: Sequence[Pawprint],
    place: tuple[float, float],
    radius: float,
    *,
    aperture: bool,
) -> Table:
    """Return the sources of the newest measurement of each frame: the star's own, and bright ones around it."""
    flux, flux_err = (Source.aper_flux, Source.aper_flux_err) if aperture else (Source.flux, Source.flux_err)
    rows = session.execute(
        select(Source.pawprint_id, Source.ra, Source.dec, flux, flux_err, Source.flags).where(
            Source.steprun_id.in_(_newest(Source, frames)),
            flux > 0,
            or_(Source.snr >= _BRIGHT, and_(*within(Source, *place, radius / 3600))),
        )
    ).all()
    columns = np.array([tuple(row) for row in rows], np.float64).reshape(len(rows), 6).T
    number_of = {frame.id: number for number, frame in enumerate(frames)}
    number = np.array([number_of[int(pawprint)] for pawprint in columns[0]], np.intp)
    exptime = np.array([frame.exptime or 1.0 for frame in frames])[number]
    sources = Table(
        {
            "frame": number,
            "ra": columns[1],
            "dec": columns[2],
            "mag": -2.5 * np.log10(columns[3] / exptime),
            "mag_err": POGSON * columns[4] / columns[3],
            "flagged": (columns[5].astype(int) & int(_SPOILT)) != 0,
        }
    )
    return sources[is_within(sources["ra"], sources["dec"], place, _FIELD)]


def _level(session: Session, frames: Sequence[Pawprint]) -> float | None:
    """Return the median zero point of the frames; the ensemble does the rest. None where no frame has one."""
    found = session.scalars(
        select(PhotometricZeroPoint.zero_point).where(
            PhotometricZeroPoint.steprun_id.in_(_newest(PhotometricZeroPoint, frames))
        )
    ).all()
    return float(np.median(found)) if found else None


def _dated(curve: LightCurve, frames: Sequence[Pawprint]) -> Table:
    shown = [frames[number] for number in curve.points["frame"]]
    table = Table(
        {
            "jd": np.array([frame.jd + frame.exptime / 2 / 86400 for frame in shown], np.float64),
            "exptime": np.array([frame.exptime for frame in shown], np.float64),
            "pawprint": np.array([frame.id for frame in shown], np.intp),
            "name": [frame.name for frame in shown],
        }
    )
    for name in curve.points.colnames:
        if name != "frame":
            table[name] = curve.points[name]
    return table
