"""What a night is to bring, and the schedule that follows from it."""

from __future__ import annotations

import datetime as dt
import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from toros.errors import BadParameters
from toros.sim.camera import SimulatedCamera
from toros.sim.exposure import Conditions
from toros.sim.sky import Transient

_BIAS_HOUR, _FLATS_HOUR, _FIELDS_HOUR = 17.5, 19.0, 20.0
"""Local mean solar time at which each part begins, unless the part before it takes longer."""


class Incident(enum.StrEnum):
    """What goes wrong at telescopes. Those of the first group come as additional files."""

    TRUNCATED = "truncated"
    """A light frame of which only the first part was copied."""
    NOT_FITS = "not_fits"
    """A picture under the name of a frame."""
    UNKNOWN_TYPE = "unknown_type"
    """A frame whose IMAGETYP nobody knows."""
    DUPLICATE = "duplicate"
    """An earlier light frame, byte for byte, under another name."""
    NO_DATE = "no_date"
    """A light frame without any date."""

    BAD_GUIDING = "bad_guiding"
    """A planned light frame with elongated stars."""
    SATELLITE = "satellite"
    """A planned light frame crossed by a satellite."""


@dataclass(frozen=True)
class Field:
    """A place on the sky and how to observe it.

    Attributes
    ----------
    name : str
        The OBJECT card.
    ra, dec : float
        ICRS degrees.
    exposures : int
        In each filter.
    exptime : float
        Seconds.
    filters : tuple of str
        Empty: the camera's first one.
    """

    name: str
    ra: float
    dec: float
    exposures: int = 3
    exptime: float = 120.0
    filters: tuple[str, ...] = ()


@dataclass(frozen=True)
class NightPlan:
    """What a night is to bring.

    Attributes
    ----------
    night : date
        Of its evening.
    latitude, longitude : float
        Of the observatory, degrees, north and east positive.
    observer : str
        The OBSERVER card.
    bias : int
        Number of bias frames.
    darks : tuple of (float, int)
        Exposure time (s) and number.
    flats : int
        Number for each filter that the fields use.
    flat_exptime, flat_level : float
        Seconds; mean ADU above the bias, from which single flats differ as the twilight fades.
    fields : tuple of Field
        In their order; see `fields_of_the_night`.
    density, faint : float
        Sources per square arcmin of the sky, down to this magnitude.
    conditions : Conditions
        Of the average light frame; seeing and transparency vary about it. Its dust shift happens after the
        flats.
    pointing_error, dither : float
        arcsec: the telescope's error, constant for the visit of a field; the shift between exposures.
    transients : tuple of Transient
        What is new on the sky.
    incidents : tuple of Incident
        What goes wrong.
    sky_seed : int
        Which sky.
    """

    night: dt.date
    latitude: float = -24.623
    longitude: float = -67.328
    observer: str = "TOROS"
    bias: int = 10
    darks: tuple[tuple[float, int], ...] = ((120.0, 5),)
    flats: int = 5
    flat_exptime: float = 5.0
    flat_level: float = 25_000.0
    fields: tuple[Field, ...] = ()
    density: float = 5.0
    faint: float = 21.0
    conditions: Conditions = field(default_factory=Conditions)
    pointing_error: float = 15.0
    dither: float = 8.0
    transients: tuple[Transient, ...] = ()
    incidents: tuple[Incident, ...] = ()
    sky_seed: int = 0


@dataclass(frozen=True)
class Shot:
    """An entry of the observing schedule: one file.

    Attributes
    ----------
    name, kind : str
        As in `SimulatedFrame`.
    start : datetime
        Of the exposure, UTC.
    exptime : float
        Seconds.
    filter : str
        In the light path.
    number : int
        Of the exposure; with the night's seed it fixes all chance in the frame. A duplicate shares it.
    field : Field or None
        Of a light frame.
    incident : Incident or None
        What goes wrong.
    """

    name: str
    kind: str
    start: dt.datetime
    exptime: float
    filter: str
    number: int
    field: Field | None = None
    incident: Incident | None = None


def fields_of_the_night(
    night: dt.date, *, count: int, latitude: float = -24.623, longitude: float = -67.328
) -> tuple[Field, ...]:
    """Choose survey fields that culminate near the zenith, one after another, around local midnight.

    The fields lie 15 degrees apart on a fixed grid: nights that follow each other choose the same ones.
    """
    midnight_jd = julian_date(_local_noon(night, longitude) + dt.timedelta(hours=12))
    sidereal = (280.46062 + 360.98564736629 * (midnight_jd - 2451545.0) + longitude) % 360
    first = round(sidereal / 15) - count // 2
    dec = 5.0 * round(latitude / 5)
    return tuple(
        Field(f"F{(hour % 24):02d}00{dec:+03.0f}", ra=15.0 * (hour % 24), dec=dec)
        for hour in range(first, first + count)
    )


def schedule(plan: NightPlan, camera: SimulatedCamera, seed: int = 0) -> list[Shot]:
    """Lay out the files of a night in time: bias, darks, twilight flats, then the fields.

    Raises
    ------
    BadParameters
        If the plan takes longer than the night, names a filter that the camera has not, or has an
        incident that needs a light frame and no field.
    """
    rng = np.random.default_rng([seed, plan.night.toordinal()])
    noon = _local_noon(plan.night, plan.longitude)
    clock = noon
    shots: list[Shot] = []
    names: Counter[str] = Counter()
    for wish in _with_incidents([*_calibration(plan, camera), *_lights(plan, camera)], plan.incidents, rng):
        clock = max(clock, noon + dt.timedelta(hours=wish.hour - 12))
        if wish.incident is Incident.DUPLICATE:
            last = next(shot for shot in reversed(shots) if shot.kind == "light" and shot.incident is None)
            shots.append(replace(last, name=last.name.replace(".fit", " (1).fit"), incident=wish.incident))
            continue
        stem = wish.stem(plan.night)
        names[stem] += 1
        shots.append(
            Shot(
                name=f"{stem}-{names[stem]:04d}.fit",
                kind=wish.kind,
                start=clock,
                exptime=wish.exptime,
                filter=wish.filter,
                number=len(shots),
                field=wish.field,
                incident=wish.incident,
            )
        )
        clock += dt.timedelta(seconds=wish.exptime + camera.readout_time)
    if clock > noon + dt.timedelta(days=1):
        raise BadParameters(
            f"the plan of {plan.night} ends at {clock:%Y-%m-%d %H:%M} UTC, after the next local noon",
            advice="ask for fewer or shorter exposures",
        )
    return shots


def julian_date(moment: dt.datetime) -> float:
    """Return the Julian date (UTC) of an aware moment, to 50 microseconds."""
    return 2440587.5 + moment.timestamp() / 86400


@dataclass(frozen=True)
class _Wish:
    """A file that has no time yet."""

    kind: str
    hour: float
    exptime: float
    filter: str
    field: Field | None = None
    incident: Incident | None = None

    def stem(self, night: dt.date) -> str:
        """Return the name of the file up to its sequence number, in the manner of capture programs."""
        if self.incident is Incident.NOT_FITS:
            return f"allsky-{night:%Y%m%d}"
        if self.incident is Incident.UNKNOWN_TYPE:
            return f"focus-{night:%Y%m%d}"
        if self.field is not None:
            return f"{self.field.name}-{night:%Y%m%d}-{self.filter}"
        detail = {"dark": f"-{self.exptime:g}s", "flat": f"-{self.filter}"}.get(self.kind, "")
        return f"{self.kind}-{night:%Y%m%d}{detail}"


def _calibration(plan: NightPlan, camera: SimulatedCamera) -> Iterator[_Wish]:
    first = camera.bands[0].name
    for _ in range(plan.bias):
        yield _Wish("bias", _BIAS_HOUR, 0.0, first)
    for exptime, count in plan.darks:
        for _ in range(count):
            yield _Wish("dark", _BIAS_HOUR, exptime, first)
    for name in dict.fromkeys(name for one in plan.fields for name in one.filters or (first,)):
        for _ in range(plan.flats):
            yield _Wish("flat", _FLATS_HOUR, plan.flat_exptime, camera.band(name).name)


def _lights(plan: NightPlan, camera: SimulatedCamera) -> Iterator[_Wish]:
    for one in plan.fields:
        for name in one.filters or (camera.bands[0].name,):
            for _ in range(one.exposures):
                yield _Wish("light", _FIELDS_HOUR, one.exptime, camera.band(name).name, field=one)


def _with_incidents(
    wishes: list[_Wish], incidents: tuple[Incident, ...], rng: np.random.Generator
) -> list[_Wish]:
    """Let each incident happen to a light frame of its own, or bring a file of its own after one."""
    to_planned = (Incident.BAD_GUIDING, Incident.SATELLITE)
    for incident in sorted(incidents, key=lambda one: one not in to_planned):
        lights = [i for i, wish in enumerate(wishes) if wish.kind == "light" and wish.incident is None]
        if not lights:
            raise BadParameters(
                f"no light frame is left for the incident {incident.value!r}", advice="plan more exposures"
            )
        place = int(rng.choice(lights))
        if incident in to_planned:
            wishes[place] = replace(wishes[place], incident=incident)
        else:
            extra = replace(wishes[place], incident=incident)
            if incident is Incident.NOT_FITS:
                extra = replace(extra, kind="picture", exptime=0.0, field=None)
            wishes.insert(place + 1, extra)
    return wishes


def _local_noon(night: dt.date, longitude: float) -> dt.datetime:
    """Return the mean solar noon before a night, UTC to the second."""
    noon = dt.datetime.combine(night, dt.time(12), dt.UTC) - dt.timedelta(hours=longitude / 15)
    return noon.replace(microsecond=0)
