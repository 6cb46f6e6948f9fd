"""Rows around a position: ranges of the HEALPix index, then the exact distance.

::

    rows = session.scalars(select(Source).where(*within(Source, ra, dec, radius)))
    near = [row for row in rows if is_within(row.ra, row.dec, (ra, dec), radius)]  # of toros.science.healpix
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_

from toros.errors import BadParameters
from toros.models.base import HEALPIX_ORDER, OnSky
from toros.science.healpix import cone_ranges


def within(model: type[OnSky], ra: float, dec: float, radius: float) -> list[ColumnElement[bool]]:
    """Return conditions that hold for all rows within a cone, and for some just outside.

    A database need not know trigonometry: what is outside (for a cone wide against the cells of 13 arcsec about
    a third of the rows) is for `is_within` to tell.

    Parameters
    ----------
    model : type
        A table with positions.
    ra, dec, radius : float
        ICRS degrees.

    Returns
    -------
    list of ColumnElement
        For ``select(...).where(*conditions)``: some 25 scans of the index at most, and a band of declination.

    Raises
    ------
    BadParameters
        There is no such cone.
    """
    if not (-90 <= dec <= 90 and 0 <= radius <= 180):
        raise BadParameters(f"no cone of {radius} deg around {ra} {dec}")
    ranges = cone_ranges(ra, dec, radius, HEALPIX_ORDER).tolist()
    margin = 1e-9
    return [
        or_(*(model.healpix.between(first, last) for first, last in ranges)),
        model.dec.between(dec - radius - margin, dec + radius + margin),
    ]
