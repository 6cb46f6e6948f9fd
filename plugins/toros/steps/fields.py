"""Fields: regions of the sky that a camera looks at again and again, told by where its frames point."""

from __future__ import annotations

from itertools import count

import numpy as np
from astropy.coordinates import Angle, angular_separation
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import Astrometry, Campaign, Field, Pawprint
from toros.models.cone import within


def field_of(session: Session, frame: Pawprint, solution: Astrometry, radius: float) -> Field:
    """Return the field that a frame shows; the first frame of a region makes it.

    Parameters
    ----------
    session : Session
        Of the transaction that will say so.
    frame : Pawprint
        A solved frame.
    solution : Astrometry
        Where it points.
    radius : float
        Shorter sides of the frame by which pointings of one field may differ.
    """
    reach = radius * min(frame.naxis1, frame.naxis2) * solution.pixel_scale / 3600
    # Two frames of a new region at the same time make one field: the second waits here for the first.
    session.execute(select(Campaign.id).where(Campaign.id == frame.campaign_id).with_for_update())
    known = session.scalars(
        select(Field).where(
            Field.campaign_id == frame.campaign_id, *within(Field, solution.ra, solution.dec, reach)
        )
    )
    nearest = min(known, key=lambda field: (_distance(field, solution), field.id), default=None)
    if nearest is not None and _distance(nearest, solution) <= reach:
        return nearest
    field = Field(
        name=_free_name(session, frame.campaign_id, name_of_position(solution.ra, solution.dec)),
        campaign_id=frame.campaign_id,
        ra=solution.ra,
        dec=solution.dec,
        healpix=solution.healpix,
        radius=reach,
    )
    session.add(field)
    return field


def _free_name(session: Session, campaign_id: int, name: str) -> str:
    """Add a number to a name that a field has already: tiny fields may lie within seconds of each other."""
    taken = set(
        session.scalars(
            select(Field.name).where(Field.campaign_id == campaign_id, Field.name.startswith(name))
        )
    )
    numbered = (f"{name}-{number}" for number in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def name_of_position(ra: float, dec: float) -> str:
    """Return the name of a place (degrees) in the manner of the IAU, truncated to seconds."""
    hours = Angle(ra, "deg").to_string("hourangle", sep="", precision=2, pad=True)[:6]
    degrees = Angle(dec, "deg").to_string("deg", sep="", precision=2, pad=True, alwayssign=True)[:7]
    return f"J{hours}{degrees}"


def _distance(field: Field, solution: Astrometry) -> float:
    places = np.radians([field.ra, field.dec, solution.ra, solution.dec])
    return float(np.degrees(angular_separation(*places)))
