"""What has changed on the sky of a night since its fields were last observed."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from toros.sim.plan import julian_date, schedule
from toros.sim.sky import Pulsation, Supernova, Transient, sky_field

if TYPE_CHECKING:
    from toros.sim.camera import SimulatedCamera
    from toros.sim.plan import Field, NightPlan

_REACH = 0.35
"""Changes are within so much of the frame's sides from the field's centre: no dither loses them."""

_BRIGHTEST, _FAINTEST = 17.0, 19.5
"""Of novae and asteroids, and of supernovae at their peak."""

_SPEED = 40.0, 70.0
"""Of asteroids of the main belt at opposition and a little inside, arcsec per hour."""


class Change(enum.StrEnum):
    """Kinds of objects that are not every night as they were."""

    SUPERNOVA = "supernova"
    """On its rise, in a galaxy."""
    NOVA = "nova"
    """A new star where none was seen."""
    VARIABLE = "variable"
    """A star that was there, and is now brighter or fainter."""
    ASTEROID = "asteroid"
    """In another place on every frame."""


def changes_since(
    plan: NightPlan, camera: SimulatedCamera, days: float, *, each: int = 2, seed: int = 0
) -> tuple[Transient, ...]:
    """Draw what has changed in the fields of a night since they were observed so many days before.

    Put into the plans of both nights, the changes show as such: supernovae and novae break out between
    them, variables go from one extreme to the other, asteroids come from outside the field.

    Parameters
    ----------
    plan : NightPlan
        Of the later night: its fields, its sky, and when each is observed.
    camera : SimulatedCamera
        How wide a field is.
    days : float
        Since the earlier night.
    each : int
        Of every kind in every field; fewer supernovae where there are fewer galaxies.
    seed : int
        Of all chance.

    Raises
    ------
    BadParameters
        As `schedule`.
    """
    rng = np.random.default_rng([seed, plan.night.toordinal()])
    middles: dict[Field, list[float]] = {field: [] for field in plan.fields}
    for shot in schedule(plan, camera):
        if shot.field is not None:
            middles[shot.field].append(julian_date(shot.start) + shot.exptime / 2 / 86400)
    return tuple(
        change
        for field, moments in middles.items()
        for change in _changes(plan, field, camera, (float(np.mean(moments)), days), each, rng)
    )


def _changes(
    plan: NightPlan,
    field: Field,
    camera: SimulatedCamera,
    when: tuple[float, float],
    each: int,
    rng: np.random.Generator,
) -> Iterator[Transient]:
    """Yield the changes of a field, seen at a Julian date and so many days before."""
    jd, days = when
    for number, place in enumerate(_in_galaxies(plan, field, camera, each, rng), start=1):
        # It broke out after a fifth of the time.
        light = Supernova(float(rng.uniform(_BRIGHTEST, _FAINTEST)) - 1.0, jd + 15.0 - 0.8 * days)
        yield _named(Change.SUPERNOVA, number, field, place, light)
    for number in range(1, each + 1):
        magnitudes = rng.uniform(_BRIGHTEST, _FAINTEST, 3)
        places = [_place(field, camera, rng) for _ in range(3)]
        outburst = Supernova(float(magnitudes[0]), jd - 0.1 * days, 0.1 * days, decline_per_day=0.2)
        yield _named(Change.NOVA, number, field, places[0], outburst)
        # The first one has brightened, the second one faded, and so on.
        maximum = jd if number % 2 else jd - days
        pulsation = Pulsation(float(magnitudes[1]) - 0.5, float(rng.uniform(0.3, 0.8)), 2 * days, maximum)
        yield _named(Change.VARIABLE, number, field, places[1], pulsation)
        heading, speed = rng.uniform(0, 2 * math.pi), rng.uniform(*_SPEED)
        yield Transient(
            f"{field.name} {Change.ASTEROID} {number}",
            *places[2],
            Pulsation(float(magnitudes[2]), 0.1, 0.2),
            motion=(float(speed * math.sin(heading)), float(speed * math.cos(heading))),
            epoch=jd,
            kind=Change.ASTEROID,
        )


def _named(
    kind: Change, number: int, field: Field, place: tuple[float, float], light: Supernova | Pulsation
) -> Transient:
    return Transient(f"{field.name} {kind} {number}", *place, light, kind=kind)


def _in_galaxies(
    plan: NightPlan, field: Field, camera: SimulatedCamera, count: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Choose places in galaxies, half a half-light radius from their centres."""
    reach = _REACH * min(camera.shape) * camera.pixel_scale / 3600
    sky = sky_field(field.ra, field.dec, reach, density=plan.density, faint=plan.faint, seed=plan.sky_seed)
    galaxies = sky[sky["kind"] == "galaxy"]
    hosts = galaxies[rng.permutation(len(galaxies))[:count]]
    angle = rng.uniform(0, 2 * math.pi, len(hosts))
    shift = 0.5 * np.asarray(hosts["half_light_radius"]) / 3600
    ra = hosts["ra"] + shift * np.sin(angle) / np.cos(np.radians(hosts["dec"]))
    dec = hosts["dec"] + shift * np.cos(angle)
    return [(float(one), float(other)) for one, other in zip(ra, dec, strict=True)]


def _place(field: Field, camera: SimulatedCamera, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a place in a field, degrees."""
    sides = camera.pixel_scale / 3600 * np.asarray(camera.shape)
    north, east = rng.uniform(-_REACH, _REACH, 2) * sides
    return float(field.ra + east / math.cos(math.radians(field.dec))) % 360, float(field.dec + north)
