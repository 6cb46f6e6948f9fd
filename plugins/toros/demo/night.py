"""The nights of the demonstration: what the simulated camera writes, and what should become of it."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.table import Table

from toros.catalogues.loading import add_catalogue
from toros.config import Settings, load_settings
from toros.migrations import migrate
from toros.models import utcnow
from toros.models.database import Database
from toros.sim import (
    Incident,
    NightPlan,
    SimulatedCamera,
    SimulatedFrame,
    azulcito,
    changes_since,
    feed,
    fields_of_the_night,
    record_truth,
    reference_catalogue,
    simulate_night,
    write_profile,
)
from toros.steps import calibration_rules, survey_rules

QUIET_SECONDS = 6.0
"""A camera of the demonstration takes a frame every second: a set is complete sooner than at the telescope."""

DAYS_LATER = 10
"""The field is observed again after so many days."""

EXPECTED_REJECTIONS = {
    Incident.TRUNCATED: "truncated",
    Incident.NOT_FITS: "not_fits",
    Incident.UNKNOWN_TYPE: "unknown_image_type",
    Incident.DUPLICATE: "duplicate",
    Incident.NO_DATE: "no_date",
}


@dataclass(frozen=True)
class DemoNights:
    """A data root with an empty database, and the frames of two nights that wait to be written into its inbox.

    The frames of the first night become the reference of their field; on those of the second one the sky has
    changed.
    """

    settings: Settings
    environ: Mapping[str, str]
    night: dt.date
    """Of the evening of the second night."""
    first: tuple[SimulatedFrame, ...]
    second: tuple[SimulatedFrame, ...]

    @property
    def frames(self) -> tuple[SimulatedFrame, ...]:
        """All frames, in the order in which they are taken."""
        return self.first + self.second

    @property
    def inbox(self) -> Path:
        """The watched folder."""
        return self.settings.inbox[0]

    @property
    def expected_rejections(self) -> Counter[str]:
        """How many files are to be rejected, by code."""
        codes = (EXPECTED_REJECTIONS.get(frame.incident) for frame in self.frames if frame.incident)
        return Counter(code for code in codes if code)

    @property
    def spoiled(self) -> dict[str, Incident]:
        """What happened to science frames that may be of no use, by the names of their files."""
        return {frame.name: frame.incident for frame in self.frames if frame.incident is Incident.BAD_GUIDING}

    def start_camera(self, frames: tuple[SimulatedFrame, ...], interval: float) -> threading.Thread:
        """Write frames into the inbox as a camera does, in the background, seconds apart."""

        def write_all() -> None:
            for _ in feed(frames, self.inbox, interval=interval, pieces=3):
                pass

        camera = threading.Thread(target=write_all, name="camera", daemon=True)
        camera.start()
        return camera


def prepare_nights(folder: Path, *, size: int, night: dt.date, seed: int) -> DemoNights:
    """Lay out a data root, set up its database, and simulate two nights for it.

    The truth about all sources is written beside the data root, into ``<folder>-truth``.

    Parameters
    ----------
    folder : Path
        The data root.
    size : int
        Rows and columns of the camera.
    night : date
        Of the evening of the second night.
    seed : int
        Of all chance.
    """
    camera = azulcito(shape=(size, size))
    environ = {
        "AIRFLOW__TOROS__DATA_ROOT": str(folder),
        "AIRFLOW__TOROS__PROFILES_DIR": str(folder / "profiles"),
        "AIRFLOW__TOROS__RULES": str(_without_patience(calibration_rules.__file__, folder)),
        "AIRFLOW__TOROS__SURVEY_RULES": str(_without_patience(survey_rules.__file__, folder)),
        "AIRFLOW__TOROS__SETTLE_SECONDS": "1",
        "AIRFLOW__TOROS__PATIENCE_SECONDS": "10",
        # A watched folder is watched from the moment on when its DAG is parsed and not paused.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }
    settings = load_settings(environ)
    write_profile(camera, folder / "profiles")
    settings.inbox[0].mkdir(parents=True)
    migrate(Database(settings.database_url))
    first, second = _plans(night, camera, seed)
    _load_catalogue(reference_catalogue(first, camera), folder)
    nights = DemoNights(
        settings, environ, night, *(tuple(simulate_night(plan, camera, seed)) for plan in (first, second))
    )
    record_truth(nights.frames, folder.with_name(f"{folder.name}-truth"))
    return nights


def _plans(night: dt.date, camera: SimulatedCamera, seed: int) -> tuple[NightPlan, NightPlan]:
    """Plan a night with everything that can go wrong, and a later one on which the sky has changed."""
    fields = fields_of_the_night(night, count=1)
    second = NightPlan(
        night,
        bias=0,
        darks=(),
        flats=0,
        fields=tuple(replace(field, exposures=4) for field in fields),
        incidents=(Incident.SATELLITE,),
    )
    second = replace(second, transients=changes_since(second, camera, DAYS_LATER, seed=seed))
    first = replace(
        second,
        night=night - dt.timedelta(days=DAYS_LATER),
        bias=9,
        darks=((120.0, 5),),
        flats=5,
        fields=tuple(replace(field, exposures=5) for field in fields),
        incidents=tuple(Incident),
    )
    return first, second


def _load_catalogue(stars: Table, folder: Path) -> None:
    """Load the stars of the night's fields as an astronomer loads a part of Gaia."""
    file = folder / "simulated_sky.fits"
    stars.write(file)
    add_catalogue(file, folder / "catalogues", epoch=2000.0, now=utcnow())


def _without_patience(module: str, folder: Path) -> Path:
    """Copy the rules that are shipped with a module, but for how long it must be quiet."""
    shipped = Path(module).with_suffix(".toml")
    lines = [
        f"quiet_seconds = {QUIET_SECONDS:g}" if line.startswith("quiet_seconds") else line
        for line in shipped.read_text().splitlines()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / shipped.name
    rules.write_text("\n".join(lines) + "\n")
    return rules
