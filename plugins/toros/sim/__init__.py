"""A simulated observatory with known truth: a camera, its sky, its nights, its mishaps.

::

    plan = NightPlan(date(2026, 11, 20), fields=fields_of_the_night(date(2026, 11, 20), count=2))
    journal = write_night(simulate_night(plan, azulcito((512, 512)), seed=1), Path("incoming"))
"""

from toros.sim.camera import (
    Band,
    Detector,
    SimulatedCamera,
    azulcito,
    build_detector,
    sta1600,
    without_flaws,
)
from toros.sim.catalogue import reference_catalogue
from toros.sim.changes import Change, changes_since
from toros.sim.exposure import (
    Conditions,
    RawFrame,
    illuminate,
    read_out,
    take_bias,
    take_dark,
    take_flat,
    take_light,
)
from toros.sim.night import SimulatedFrame, feed, record_truth, simulate_night, write_night
from toros.sim.plan import Field, Incident, NightPlan, Shot, fields_of_the_night, schedule
from toros.sim.profile import write_profile
from toros.sim.psf import Psf, add_galaxies, add_stars
from toros.sim.sky import Pulsation, Supernova, Transient, add_transients, camera_wcs, sky_field

__all__ = [
    "Band",
    "Change",
    "Conditions",
    "Detector",
    "Field",
    "Incident",
    "NightPlan",
    "Psf",
    "Pulsation",
    "RawFrame",
    "Shot",
    "SimulatedCamera",
    "SimulatedFrame",
    "Supernova",
    "Transient",
    "add_galaxies",
    "add_stars",
    "add_transients",
    "azulcito",
    "build_detector",
    "camera_wcs",
    "changes_since",
    "feed",
    "fields_of_the_night",
    "illuminate",
    "read_out",
    "record_truth",
    "reference_catalogue",
    "schedule",
    "simulate_night",
    "sky_field",
    "sta1600",
    "take_bias",
    "take_dark",
    "take_flat",
    "take_light",
    "without_flaws",
    "write_night",
    "write_profile",
]
