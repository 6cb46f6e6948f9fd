"""The magnitudes of the sources of an image: compared with the stars of a reference catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.catalogues import reference_stars
from toros.caveats import Caveat
from toros.errors import NoCatalogue, TooFewStars
from toros.science.magnitudes import POGSON
from toros.science.sources import Measurement, SourceFlag
from toros.science.zero_point import ZeroPoint, measure_zero_point
from toros.steps.photometry_rules import PhotometryRules, ReferenceBand

UNFIT = (
    SourceFlag.SATURATED
    | SourceFlag.EDGE
    | SourceFlag.BAD_PIXELS
    | SourceFlag.COSMIC_RAY
    | SourceFlag.EXTENDED
)
"""Sources with these flags say nothing about the zero point."""

MATCH_FWHM = 0.7
"""A source is a star of the catalogue if it lies within so many FWHM of it."""


@dataclass(frozen=True, eq=False)
class CatalogueStars:
    """The stars of a catalogue around an image, and the band that its magnitudes refer to."""

    stars: Table
    band: ReferenceBand

    @property
    def catalogue(self) -> str:
        """Name of the catalogue."""
        return str(self.stars.meta["catalogue"])


def catalogue_stars(
    folder: Path,
    rules: PhotometryRules,
    filter_: str | None,
    place: tuple[float, float],
    reach: float,
    epoch: float,
) -> CatalogueStars | None:
    """Return the stars of the first band that serves a filter and that a catalogue has around a place.

    Parameters
    ----------
    folder : Path
        Of the catalogues.
    rules : PhotometryRules
    filter_ : str or None
        Of the image.
    place : (float, float)
        Right ascension and declination, degrees.
    reach : float
        Degrees.
    epoch : float
        Julian year.
    """
    tried: set[str] = set()
    for band in rules.bands_for(filter_):
        try:
            stars = reference_stars(folder, *place, reach, epoch, band=band)
        except NoCatalogue:
            tried.add(band)
            continue
        return CatalogueStars(stars, rules.reference_band(filter_, {*stars.colnames} - tried))
    return None


def on_sky(sources: QTable, wcs: WCS) -> QTable:
    """Add right ascension and declination, and room for magnitudes."""
    ra, dec = wcs.all_pix2world(sources["x"].value, sources["y"].value, 0)
    sources = sources.copy()
    sources["ra"], sources["dec"] = np.mod(ra, 360.0) * u.deg, dec * u.deg
    sources["mag"] = sources["mag_err"] = np.full(len(sources), np.nan) * u.mag
    return sources


def add_magnitudes(sources: QTable, zero_point: float, exptime: float) -> None:
    """Fill in the magnitudes of sources of positive flux, from the zero point of one electron per second."""
    flux, error = sources["flux_psf"].value, sources["flux_psf_err"].value
    positive = np.where(flux > 0, flux, np.nan)
    sources["mag"] = (zero_point - 2.5 * np.log10(positive / exptime)) * u.mag
    sources["mag_err"] = POGSON * error / positive * u.mag


def zero_point_of(
    measurement: Measurement,
    wcs: WCS,
    reference: CatalogueStars | None,
    exptime: float,
    *,
    nominal: float | None = None,
) -> tuple[ZeroPoint | None, list[Caveat]]:
    """Compare the sources of an image with the stars of the catalogue.

    Returns
    -------
    ZeroPoint or None, list of Caveat
        None, with a caveat, where there is nothing to compare with.
    """
    if reference is None:
        return None, [Caveat.NO_ZERO_POINT]
    stars, band = reference.stars, reference.band
    source, star = _matched(measurement, wcs, stars)
    found, matched = measurement.sources[source], stars[star]
    error = f"{band.band}_err"
    try:
        zero_point = measure_zero_point(
            found["flux_psf"].value,
            found["flux_psf_err"].value,
            exptime,
            matched["mag"],
            matched[error] if error in matched.colnames else None,
            None if band.colour is None else matched[band.colour[0]] - matched[band.colour[1]],
            reference_colour=band.reference_colour,
            position=(found["x"].value, found["y"].value),
            shape=measurement.background.shape,
            nominal=nominal,
        )
    except TooFewStars:
        return None, [Caveat.NO_ZERO_POINT]
    return zero_point, [Caveat.BAND_APPROXIMATE] if band.approximate else []


def _matched(measurement: Measurement, wcs: WCS, stars: Table) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return good sources and the stars of the catalogue that they are; whoever has two partners has none."""
    table = measurement.sources
    good = np.flatnonzero((np.asarray(table["flags"]) & int(UNFIT)) == 0)
    x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
    at_star = np.column_stack([x, y])
    on_frame = np.flatnonzero(np.isfinite(at_star).all(axis=1))
    places = np.column_stack([table["x"].value, table["y"].value])[good]
    reach = MATCH_FWHM * measurement.star_shape.fwhm
    pairs = cKDTree(places).query_ball_tree(cKDTree(at_star[on_frame]), reach)
    source = np.array([number for number, near in enumerate(pairs) if len(near) == 1], np.intp)
    star = np.array([near[0] for near in pairs if len(near) == 1], np.intp)
    _, first, count = np.unique(star, return_index=True, return_counts=True)
    single = first[count == 1]
    return good[source[single]], on_frame[star[single]]
