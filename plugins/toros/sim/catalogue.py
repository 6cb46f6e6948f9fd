"""What a survey would have measured of the simulated sky: the reference catalogue of a night."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table, unique, vstack

from toros.sim.sky import sky_field

if TYPE_CHECKING:
    from toros.sim.camera import SimulatedCamera
    from toros.sim.plan import NightPlan

_MARGIN = 0.1
"""Degrees around the frames, for telescopes that miss their field a little."""


def reference_catalogue(
    plan: NightPlan, camera: SimulatedCamera, *, faint: float = 20.0, mag_err: float = 0.01, seed: int = 0
) -> Table:
    """Return the stars of the fields of a night, measured by somebody else.

    Parameters
    ----------
    plan : NightPlan
        Its fields, and its sky.
    camera : SimulatedCamera
        How wide a field is.
    faint : float
        Limit in r.
    mag_err : float
        Error of the magnitudes.
    seed : int
        Of these errors.

    Returns
    -------
    Table
        name, ra, dec (deg, ICRS), rmag, gmag and their errors (mag); galaxies and what is new on the sky are not
        in it.
    """
    reach = math.hypot(*camera.shape) / 2 * camera.pixel_scale / 3600 + _MARGIN
    skies = [
        sky_field(field.ra, field.dec, reach, density=plan.density, faint=plan.faint, seed=plan.sky_seed)
        for field in plan.fields
    ]
    sky = unique(vstack(skies), keys="name")
    stars = sky[(sky["kind"] == "star") & (sky["mag"] < faint)]
    noise = np.random.default_rng([seed, plan.sky_seed]).normal(0, mag_err, (2, len(stars)))
    error = np.full(len(stars), mag_err) * u.mag
    return QTable(
        {
            "name": stars["name"],
            "ra": stars["ra"] * u.deg,
            "dec": stars["dec"] * u.deg,
            "rmag": (stars["mag"] + noise[0]) * u.mag,
            "e_rmag": error,
            "gmag": (stars["mag"] + stars["colour"] + noise[1]) * u.mag,
            "e_gmag": error,
        }
    )
