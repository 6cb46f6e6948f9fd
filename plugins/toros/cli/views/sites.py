"""Observatories, cameras and campaigns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from toros.errors import BadParameters
from toros.instruments import CameraProfile, Profiles
from toros.models import CCD, Campaign, Model, Observatory

Rows = list[dict[str, Any]]


def observatories(session: Session) -> Rows:
    """Return all sites."""
    return [_columns(row) for row in session.scalars(select(Observatory).order_by(Observatory.id))]


def campaigns(session: Session) -> Rows:
    """Return all campaigns, with the names of site and camera."""
    return [
        {
            "id": campaign.id,
            "name": campaign.name,
            "observatory": campaign.observatory.name,
            "camera": campaign.ccd.name,
            "description": campaign.description,
        }
        for campaign in session.scalars(select(Campaign).order_by(Campaign.id))
    ]


def cameras(session: Session, profiles: Profiles) -> Rows:
    """Return the profiles that are known and the cameras of the database, one row for each camera."""
    in_database = {ccd.name: ccd for ccd in session.scalars(select(CCD).order_by(CCD.id))}
    by_profile = {profile.name: profile for profile in profiles.cameras}
    return [
        _camera_row(name, by_profile.get(name), in_database.get(name))
        for name in dict.fromkeys([*in_database, *by_profile])
    ]


def camera(session: Session, profiles: Profiles, name: str) -> dict[str, Any]:
    """Return all that is known of a camera: what its profile says, and its row.

    Raises
    ------
    BadParameters
        Neither a profile nor a row has that name.
    """
    ccd = session.scalar(select(CCD).where(CCD.name == name))
    profile = next((p for p in profiles.cameras if p.name == (ccd.profile if ccd else name)), None)
    if ccd is None and profile is None:
        raise BadParameters(f"no camera is called {name!r}", advice="`toros camera list` names them")
    return {
        "profile": profile.model_dump(mode="json", exclude_defaults=True) if profile else None,
        "database": _columns(ccd) if ccd else None,
        "campaigns": [campaign.name for campaign in ccd.campaigns] if ccd else [],
    }


def _camera_row(name: str, profile: CameraProfile | None, ccd: CCD | None) -> dict[str, Any]:
    pixels = profile.pixels if profile else None
    if ccd is not None:
        pixels = (ccd.xpixsize, ccd.ypixsize)
    return {
        "name": name,
        "brand": (ccd.brand if ccd else profile.brand if profile else "") or None,
        "model": (ccd.model if ccd else profile.model if profile else "") or None,
        "pixels": f"{pixels[0]} x {pixels[1]}" if pixels else None,
        "profile": ccd.profile if ccd else name,
        "in_database": ccd is not None,
        "campaigns": [campaign.name for campaign in ccd.campaigns] if ccd else [],
    }


def _columns(row: Model) -> dict[str, Any]:
    return {attribute.key: getattr(row, attribute.key) for attribute in inspect(row).mapper.column_attrs}
