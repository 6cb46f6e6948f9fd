"""Which masters fit a frame: the rules of calibration_rules.toml, applied."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose, log

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.models import CalFile, Campaign, Combination, MasterCal, Pawprint, Product, State
from toros.steps.calibration_rules import CalibrationRules, CalibrationType
from toros.steps.cameras import Camera, temperature_of
from toros.steps.step import ProductFile

Frame = Pawprint | CalFile


@dataclass(frozen=True)
class Master:
    """An accepted master as plain values."""

    product: ProductFile
    night: dt.date
    exptime: float
    """Seconds; zero for a bias or a flat, where it does not matter."""
    has_bias: bool
    temperature: float | None
    """Degrees Celsius; None where it is unknown or does not matter."""


@dataclass(frozen=True)
class Masters:
    """The masters chosen for a frame."""

    bias: Master | None = None
    dark: Master | None = None
    dark_scale: float = 1.0
    flat: Master | None = None
    caveats: tuple[Caveat, ...] = ()

    @property
    def product_ids(self) -> tuple[int, ...]:
        """Products that go into the calibrated frame."""
        return tuple(m.product.id for m in (self.bias, self.dark, self.flat) if m is not None)

    @property
    def by_kind(self) -> dict[CalibrationType, Master | None]:
        """The masters by their kind."""
        return {"Bias": self.bias, "Dark": self.dark, "Flat": self.flat}

    @property
    def missing(self) -> frozenset[CalibrationType]:
        """Kinds that no master was found of; a dark that holds the bias replaces one."""
        absent = {kind for kind, master in self.by_kind.items() if master is None}
        if self.dark is not None and self.dark.has_bias:
            absent.discard("Bias")
        return frozenset(absent)


def choose_masters(
    session: Session,
    frame: Frame,
    rules: CalibrationRules,
    camera: Camera,
    kinds: Sequence[CalibrationType] = ("Bias", "Dark", "Flat"),
) -> Masters:
    """Choose bias, dark and flat for a frame, with what there is to say about the choice."""
    caveats: list[Caveat] = []
    found = {kind: _accepted(session, frame, kind, rules) for kind in kinds}
    bias = _nearest(found.get("Bias", ()), frame, rules)
    # Without bias and overscan, a dark is of use only if it holds the pedestal itself.
    has_overscan = camera.geometry.has_overscan
    darks = [dark for dark in found.get("Dark", ()) if dark.has_bias or bias is not None or has_overscan]
    dark, scale = _choose_dark(darks, frame, rules, caveats, has_overscan=has_overscan)
    if dark is not None and dark.has_bias:
        bias = None  # it is in the dark already
    flat = _nearest(found.get("Flat", ()), frame, rules)
    for master in (bias, dark, flat):
        if master is not None:
            caveats += _caveats_of(master, frame, rules)
    return Masters(bias, dark, scale, flat, tuple(dict.fromkeys(caveats)))


def makeshifts(masters: Masters, frame: Frame) -> frozenset[CalibrationType]:
    """Return the kinds for which a master of the frame's own night, or of its exposure time, would be better."""
    kinds = {
        kind for kind, master in masters.by_kind.items() if master is not None and master.night != frame.night
    }
    if {Caveat.DARK_SCALED, Caveat.DARK_OTHER_EXPOSURE}.intersection(masters.caveats):
        kinds.add("Dark")
    return frozenset(kinds)


def masters_in_the_making(session: Session, frame: Frame) -> frozenset[CalibrationType]:
    """Return the kinds of which frames of this camera and night are still to be combined."""
    ccd_id = frame.campaign.ccd_id
    wanted = (
        select(MasterCal.imagetype)
        .join(MasterCal.state)
        .where(MasterCal.ccd_id == ccd_id, MasterCal.night == frame.night, State.name == "master_wanted")
    )
    uncombined = (
        select(CalFile.imagetype)
        .join(CalFile.state)
        .join(CalFile.campaign)
        .where(
            Campaign.ccd_id == ccd_id,
            CalFile.night == frame.night,
            State.name.in_(("raw_data", "cleaned_data")),
            ~exists().where(Combination.calfile_id == CalFile.id),
        )
    )
    return frozenset(session.scalars(wanted.union(uncombined)))


def _accepted(session: Session, frame: Frame, kind: CalibrationType, rules: CalibrationRules) -> list[Master]:
    """Return the masters of a kind for the set-up of a frame, each set and night in its newest version."""
    columns = getattr(rules.sets, kind)
    shared = [name for name in columns if name not in ("temperature", "exptime") and hasattr(MasterCal, name)]
    age = dt.timedelta(days=rules.science.oldest[kind])
    rows = session.execute(
        select(MasterCal, Product)
        .join(MasterCal.state)
        .join(Product, (Product.item_id == MasterCal.id) & (Product.kind == "master"))
        .where(
            State.name == "master_accepted",
            MasterCal.imagetype == kind,
            MasterCal.ccd_id == frame.campaign.ccd_id,
            MasterCal.naxis1 == frame.naxis1,
            MasterCal.naxis2 == frame.naxis2,
            MasterCal.night.between(frame.night - age, frame.night + age),
            *(getattr(MasterCal, name).is_not_distinct_from(getattr(frame, name)) for name in shared),
        )
        .order_by(MasterCal.version, Product.version)
    )
    newest = {(master.set_key, master.night): (master, product) for master, product in rows}
    return [
        Master(
            ProductFile.of(product),
            master.night,
            master.exptime or 0.0,
            bool(master.has_bias),
            master.set_temp if "temperature" in columns else None,
        )
        for master, product in newest.values()
    ]


def _choose_dark(
    darks: Sequence[Master],
    frame: Frame,
    rules: CalibrationRules,
    caveats: list[Caveat],
    *,
    has_overscan: bool,
) -> tuple[Master | None, float]:
    """Choose a dark of the same exposure time, else one to scale, else the nearest that replaces a bias."""
    tolerance = rules.science.exptime_tolerance
    same = [dark for dark in darks if isclose(dark.exptime, frame.exptime, rel_tol=tolerance)]
    if same:
        return _nearest(same, frame, rules), 1.0
    longest = rules.science.longest_dark_scale
    scalable = [
        dark
        for dark in darks
        if (has_overscan or not dark.has_bias) and 0 < frame.exptime <= longest * dark.exptime
    ]
    if scalable:
        dark = min(
            scalable,
            key=lambda dark: (abs(log(frame.exptime / dark.exptime)), *_distance(dark, frame, rules)),
        )
        caveats.append(Caveat.DARK_SCALED)
        return dark, frame.exptime / dark.exptime
    with_bias = [dark for dark in darks if dark.has_bias]
    if with_bias:
        caveats.append(Caveat.DARK_OTHER_EXPOSURE)
    nearest = min(
        with_bias,
        key=lambda dark: (abs(dark.exptime - frame.exptime), *_distance(dark, frame, rules)),
        default=None,
    )
    return nearest, 1.0


def _nearest(masters: Sequence[Master], frame: Frame, rules: CalibrationRules) -> Master | None:
    return min(masters, key=lambda master: _distance(master, frame, rules), default=None)


def _distance(master: Master, frame: Frame, rules: CalibrationRules) -> tuple[float, int, bool]:
    """Sort masters: nearest temperature first, then nearest night, then the earlier of two equal ones."""
    nights = (master.night - frame.night).days
    return _temperature_off(master, frame, rules), abs(nights), nights > 0


def _temperature_off(master: Master, frame: Frame, rules: CalibrationRules) -> float:
    """Return by how much the temperature differs (deg C); zero where it is within the tolerance, or unknown."""
    wanted = temperature_of(frame, rules)
    if wanted is None or master.temperature is None:
        return 0.0
    off = abs(wanted - master.temperature)
    return off if off > rules.science.temperature_tolerance else 0.0


def _caveats_of(master: Master, frame: Frame, rules: CalibrationRules) -> list[Caveat]:
    caveats = []
    if master.night != frame.night:
        caveats.append(Caveat.OTHER_NIGHT)
    if _temperature_off(master, frame, rules):
        caveats.append(Caveat.OTHER_TEMPERATURE)
    if Caveat.FEW_FRAMES in master.product.caveats:
        caveats.append(Caveat.FEW_FRAMES)
    return caveats
