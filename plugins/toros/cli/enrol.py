"""What a person adds by hand: the rows of cameras, and names that are still free."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.errors import BadParameters
from toros.instruments import Profiles
from toros.models import CCD, Campaign, Observatory, State


def ccd_of(session: Session, profiles: Profiles, name: str) -> CCD:
    """Return the row of a camera, made from its profile where no frame of it was seen yet.

    Raises
    ------
    BadParameters
        There is no such camera, or its profile does not tell its size.
    """
    ccd = session.scalar(select(CCD).where(CCD.name == name))
    if ccd is not None:
        return ccd
    profile = next((profile for profile in profiles.cameras if profile.name == name), None)
    if profile is None:
        raise BadParameters(f"no camera is called {name!r}", advice="`toros camera list` names them")
    if profile.pixels is None:
        raise BadParameters(
            f"the profile of {name} does not say how many pixels it has", advice="add `pixels` to the profile"
        )
    ccd = CCD(
        name=profile.name,
        brand=profile.brand,
        model=profile.model,
        description=profile.description or None,
        xpixsize=profile.pixels[0],
        ypixsize=profile.pixels[1],
        gain=profile.gain,
        read_noise=profile.read_noise,
        saturation=profile.saturation,
        pixel_size=profile.pixel_size,
        profile=profile.name,
    )
    session.add(ccd)
    return ccd


def refuse_known(session: Session, model: type[Observatory | Campaign | State], name: str) -> None:
    """Make sure that a name is still free.

    Raises
    ------
    BadParameters
    """
    if session.scalar(select(model).where(model.name == name)) is not None:
        raise BadParameters(
            f"the {model.__name__.lower()} {name!r} is known already", advice="choose another name"
        )
