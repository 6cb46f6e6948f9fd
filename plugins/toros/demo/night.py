"""The night of the demonstration: what the simulated camera writes, and what should become of it."""

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
    SimulatedFrame,
    azulcito,
    feed,
    fields_of_the_night,
    reference_catalogue,
    simulate_night,
    write_profile,
)

QUIET_SECONDS = 6.0
"""A camera of the demonstration takes a frame every second: a set is complete sooner than at the telescope."""

EXPECTED_REJECTIONS = {
    Incident.TRUNCATED: "truncated",
    Incident.NOT_FITS: "not_fits",
    Incident.UNKNOWN_TYPE: "unknown_image_type",
    Incident.DUPLICATE: "duplicate",
    Incident.NO_DATE: "no_date",
}


@dataclass(frozen=True)
class DemoNight:
    """A data root with an empty database, and the frames of a night that wait to be written into its inbox."""

    settings: Settings
    environ: Mapping[str, str]
    frames: tuple[SimulatedFrame, ...]

    @property
    def inbox(self) -> Path:
        """The watched folder."""
        return self.settings.inbox[0]

    @property
    def expected_rejections(self) -> Counter[str]:
        """How many files are to be rejected, by code."""
        codes = (EXPECTED_REJECTIONS.get(frame.incident) for frame in self.frames if frame.incident)
        return Counter(code for code in codes if code)

    def start_camera(self, interval: float) -> threading.Thread:
        """Write the frames into the inbox as a camera does, in the background, seconds apart."""

        def write_all() -> None:
            for _ in feed(self.frames, self.inbox, interval=interval, pieces=3):
                pass

        camera = threading.Thread(target=write_all, name="camera", daemon=True)
        camera.start()
        return camera


def prepare_night(folder: Path, *, size: int, night: dt.date, seed: int) -> DemoNight:
    """Lay out a data root, set up its database, and simulate a night for it.

    Parameters
    ----------
    folder : Path
        The data root.
    size : int
        Rows and columns of the camera.
    night : date
        Of the evening.
    seed : int
        Of all chance.
    """
    camera = azulcito(shape=(size, size))
    environ = {
        "AIRFLOW__TOROS__DATA_ROOT": str(folder),
        "AIRFLOW__TOROS__PROFILES_DIR": str(folder / "profiles"),
        "AIRFLOW__TOROS__RULES": str(_write_rules(folder)),
        "AIRFLOW__TOROS__SETTLE_SECONDS": "1",
        "AIRFLOW__TOROS__PATIENCE_SECONDS": "10",
        # A watched folder is watched from the moment on when its DAG is parsed and not paused.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }
    settings = load_settings(environ)
    write_profile(camera, folder / "profiles")
    settings.inbox[0].mkdir(parents=True)
    migrate(Database(settings.database_url))
    plan = _plan(night)
    _load_catalogue(reference_catalogue(plan, camera), folder)
    return DemoNight(settings, environ, tuple(simulate_night(plan, camera, seed)))


def _plan(night: dt.date) -> NightPlan:
    return NightPlan(
        night,
        bias=9,
        darks=((120.0, 5),),
        flats=5,
        fields=tuple(replace(field, exposures=3) for field in fields_of_the_night(night, count=2)),
        incidents=tuple(Incident),
    )


def _load_catalogue(stars: Table, folder: Path) -> None:
    """Load the stars of the night's fields as an astronomer loads a part of Gaia."""
    file = folder / "simulated_sky.fits"
    stars.write(file)
    add_catalogue(file, folder / "catalogues", epoch=2000.0, now=utcnow())


def _write_rules(folder: Path) -> Path:
    from toros.steps import calibration_rules

    shipped = Path(calibration_rules.__file__).with_suffix(".toml").read_text()
    rules = folder / "calibration.toml"
    folder.mkdir(parents=True, exist_ok=True)
    rules.write_text(shipped.replace("quiet_seconds = 30", f"quiet_seconds = {QUIET_SECONDS:g}"))
    return rules
