"""A small telescope that keeps the truth about its frames, and the steps taken as the stream takes them."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from numpy.typing import NDArray
from sqlalchemy import select

from toros.config import load_settings
from toros.errors import NothingToDo, TorosError
from toros.models import Arrival, CalFile, Item, MasterCal, Pawprint, Product
from toros.models.database import Database
from toros.sim import (
    Conditions,
    RawFrame,
    SimulatedCamera,
    Transient,
    add_transients,
    azulcito,
    build_detector,
    camera_wcs,
    sky_field,
    take_bias,
    take_dark,
    take_flat,
    take_light,
    write_profile,
)
from toros.sim.plan import julian_date
from toros.steps.clean import Clean, CleanCalibration
from toros.steps.combine import CombineBias, CombineDark, CombineFlat
from toros.steps.discover import Discover
from toros.steps.load import Load
from toros.steps.pending import items_waiting_for
from toros.steps.plan_masters import PlanMasters
from toros.steps.preprocess import Preprocess
from toros.steps.runner import AnyStep, Runner

NIGHT = dt.date(2026, 11, 20)
CAMERA = replace(
    azulcito((96, 128)), dust_specks=2, hot_fraction=2e-3, dead_fraction=5e-4, noisy_fraction=1e-3
)
TYPICAL = Conditions()
IMAGE_TYPES = {"bias": "Bias Frame", "dark": "Dark Frame", "flat": "Flat Field", "light": "Light Frame"}
CALIBRATION = (CleanCalibration, PlanMasters, CombineBias, CombineDark, CombineFlat)


# ------------------------------------------------------------------------------------------ the telescope


@dataclass
class Telescope:
    """Writes frames of a simulated camera into a watched folder, a minute apart, as if long ago."""

    camera: SimulatedCamera
    inbox: Path
    night: dt.date = NIGHT
    seed: int = 1
    suffix: str = ".fit"
    cards: dict[str, Any] = field(default_factory=dict)
    """Cards that every frame carries beside, or instead of, the usual ones; None leaves one out."""
    truth: dict[str, RawFrame] = field(default_factory=dict)
    """What is known of every frame, by the name of its file."""

    def __post_init__(self) -> None:
        self.detector = build_detector(self.camera)
        self.rng = np.random.default_rng([self.seed, self.night.toordinal()])
        self.moment = dt.datetime.combine(self.night, dt.time(22), dt.UTC)

    def bias(self, count: int, **cards: Any) -> list[str]:
        return [self.write("bias", take_bias(self.detector, self.rng), 0.0, **cards) for _ in range(count)]

    def darks(self, exptime: float, count: int, **cards: Any) -> list[str]:
        return [
            self.write("dark", take_dark(self.detector, exptime, self.rng), exptime, **cards)
            for _ in range(count)
        ]

    def flats(self, count: int, exptime: float = 5.0, level: float = 25_000.0, **cards: Any) -> list[str]:
        band = self.camera.bands[0]
        return [
            self.write(
                "flat",
                take_flat(self.detector, band, exptime, self.rng, level=level * self.rng.uniform(0.8, 1.2)),
                exptime,
                **cards,
            )
            for _ in range(count)
        ]

    def lights(
        self,
        exptime: float,
        count: int = 1,
        *,
        density: float = 5.0,
        conditions: Conditions = TYPICAL,
        offset: tuple[float, float] = (0.0, 0.0),
        transients: Sequence[Transient] = (),
        **cards: Any,
    ) -> list[str]:
        """Take frames of one field; ``offset`` is that of the pointing from it, degrees in either coordinate."""
        wcs = camera_wcs(self.camera, 75.0 + offset[0], -25.0 + offset[1])
        reach = (max(self.camera.shape) * self.camera.pixel_scale + 40) / 3600
        sources = sky_field(75.0, -25.0, reach, density=density)
        sources = add_transients(sources, transients, julian_date(self.moment))
        return [
            self.write(
                "light",
                take_light(
                    self.detector,
                    sources,
                    wcs,
                    self.camera.bands[0],
                    exptime,
                    self.rng,
                    conditions=conditions,
                ),
                exptime,
                OBJECT="M 31",
                **cards,
            )
            for _ in range(count)
        ]

    def write(self, kind: str, frame: RawFrame, exptime: float, **cards: Any) -> str:
        """Write one frame; return the name of its file."""
        self.moment += dt.timedelta(seconds=60 + exptime)
        name = f"{kind}-{self.night:%Y%m%d}-{len(self.truth):04d}{self.suffix}"
        header = {
            "DATE-OBS": f"{self.moment:%Y-%m-%dT%H:%M:%S}",
            "EXPTIME": exptime,
            "IMAGETYP": IMAGE_TYPES[kind],
            "FILTER": self.camera.bands[0].name,
            "INSTRUME": self.camera.instrument,
            "SET-TEMP": self.camera.set_temperature,
            "CCD-TEMP": self.camera.set_temperature,
        }
        put(self.inbox / name, fits_bytes(frame.data, **header | self.cards | cards))
        self.truth[name] = frame
        return name

    def next_night(self) -> Telescope:
        """Return the same telescope a day later."""
        return replace(self, night=self.night + dt.timedelta(days=1), truth={})


def fits_bytes(data: NDArray[Any] | None, **cards: Any) -> bytes:
    """Return a FITS file; cards that are None are left out."""
    header = fits.Header([(name, value) for name, value in cards.items() if value is not None])
    buffer = io.BytesIO()
    fits.PrimaryHDU(data, header).writeto(buffer)
    return buffer.getvalue()


def put(path: Path, content: bytes, *, seconds_ago: float = 3600.0) -> Path:
    """Write a file that was left alone for so long; a name that ends in .gz is packed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
    moment = time.time() - seconds_ago
    os.utime(path, (moment, moment))
    return path


def observatory_in(folder: Path) -> Runner:
    """Return a runner with all its folders below one."""
    settings = load_settings(
        {
            "AIRFLOW_HOME": str(folder),
            "TOROS_DATA_ROOT": str(folder / "data"),
            "TOROS_INBOX": str(folder / "inbox"),
            "TOROS_DATABASE_URL": f"sqlite:///{folder / 'toros.db'}",
        }
    )
    return Runner(Database(settings.database_url), settings)


def knowing(runner: Runner, *cameras: SimulatedCamera) -> Runner:
    """Return the runner of an observatory that has written profiles of these cameras."""
    folder = runner.settings.data_root.parent / "profiles"
    for camera in cameras:
        write_profile(camera, folder)
    return replace(runner, settings=replace(runner.settings, profiles_dir=folder))


# ---------------------------------------------------------------------------------------------- the steps


def attempt(runner: Runner, step: AnyStep, item_id: int | None = None) -> str:
    """Run a step; return the state that it left the item in, or the code of its error."""
    try:
        return runner.run(step, item_id).state or ""
    except TorosError as error:
        return error.code


def ingest(runner: Runner) -> dict[str, str]:
    """Discover and load; return what became of each new file, by its name."""
    try:
        found = runner.run(Discover()).spawned
    except NothingToDo:
        return {}
    fates = {item: attempt(runner, Load(), item) for item in found}
    with runner.database.read() as session:
        return {Path(session.get_one(Arrival, item).path).name: fate for item, fate in fates.items()}


def run_waiting(runner: Runner, *steps: type[AnyStep]) -> Counter[str]:
    """Run steps, one after the other, on all that waits for them; count how it ended."""
    ends: Counter[str] = Counter()
    for step in steps:
        if step.takes is None:
            ends[attempt(runner, step())] += 1
            continue
        with runner.database.read() as session:
            waiting = items_waiting_for(session, step)
        ends.update(attempt(runner, step(), item) for item in waiting)
    return ends


def make_masters(runner: Runner) -> Counter[str]:
    """Load what is there, let the sets become quiet, and combine them."""
    ingest(runner)
    later = replace(runner, clock=lambda: runner.clock() + dt.timedelta(minutes=5))
    return run_waiting(later, *CALIBRATION)


def calibrate_lights(runner: Runner) -> Counter[str]:
    """Load what is there, and calibrate all science frames."""
    ingest(runner)
    return run_waiting(runner, Clean) + run_waiting(runner, Preprocess)


# -------------------------------------------------------------------------------------------- the results


def item_named(runner: Runner, name: str) -> Pawprint | CalFile:
    """Return the exposure that came under a name."""
    with runner.database.read() as session:
        light = session.scalar(select(Pawprint).where(Pawprint.name == name))
        return light or session.scalars(select(CalFile).where(CalFile.name == name)).one()


def masters(runner: Runner, imagetype: str) -> list[MasterCal]:
    """Return the masters of a kind, oldest first."""
    with runner.database.read() as session:
        return list(
            session.scalars(select(MasterCal).where(MasterCal.imagetype == imagetype).order_by(MasterCal.id))
        )


def products(runner: Runner, item: Item, kind: str) -> list[Product]:
    """Return the products of an item, oldest version first."""
    with runner.database.read() as session:
        return list(
            session.scalars(
                select(Product)
                .where(Product.item_id == item.id, Product.kind == kind)
                .order_by(Product.version)
            )
        )


def caveats(runner: Runner, item: Item, kind: str) -> set[str]:
    """Return what must be known of the newest product of an item."""
    return set(products(runner, item, kind)[-1].caveats)


def ccd(runner: Runner, item: Item, kind: str) -> CCDData:
    """Read the newest product of an item as anybody would."""
    return CCDData.read(runner.store.path(products(runner, item, kind)[-1].path), hdu_uncertainty="UNCERT")


def plane(runner: Runner, item: Item, kind: str, name: str) -> NDArray[Any]:
    """Read a plane of the newest product of an item, in native byte order."""
    stored = fits.getdata(runner.store.path(products(runner, item, kind)[-1].path), name)
    return np.asarray(stored, stored.dtype.newbyteorder("="))
