"""An Airflow inside the test process, an observatory behind it, and a simulated night to send through both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from toros.catalogues.loading import add_catalogue
from toros.models import utcnow
from toros.models.database import Database
from toros.sim import Field, NightPlan, azulcito, reference_catalogue, simulate_night, write_profile
from toros.steps import calibration_rules, survey_rules
from toros.steps.runner import Runner

from .local_airflow import LocalAirflow
from .small_observatory import Observatory

REPOSITORY = Path(__file__).parents[3]
NIGHT = date(2026, 11, 20)


@pytest.fixture(scope="session")
def airflow() -> Iterator[LocalAirflow]:
    """The DAGs of the repository on a metadata database of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        yield LocalAirflow(REPOSITORY / "dags", patch)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a night: three frames of each kind, of a small camera with a profile, and a catalogue."""
    folder = tmp_path_factory.mktemp("night")
    camera = azulcito((128, 128))
    plan = NightPlan(
        NIGHT,
        bias=3,
        darks=((60.0, 3),),
        flats=3,
        fields=(Field("M31", ra=10.7, dec=-24.6, exptime=60.0),),
        density=40,  # of the sky: enough stars for so small a camera
    )
    write_profile(camera, folder / "profiles")
    reference_catalogue(plan, camera).write(folder / "sky.fits")
    for frame in simulate_night(plan, camera, seed=1):
        kind = folder / frame.kind
        kind.mkdir(exist_ok=True)
        frame.write(kind / frame.name)
    return folder


@pytest.fixture
def observatory(database: Database, tmp_path: Path, night: Path) -> Iterator[Observatory]:
    """An observatory with an empty inbox; a calibration set, or a field, is complete as soon as it is there."""
    with open_observatory(tmp_path, database.url, night) as observatory:
        yield observatory


@contextmanager
def open_observatory(folder: Path, database_url: str, night: Path) -> Iterator[Observatory]:
    """Lay out an observatory in a folder, and let it be the one of the settings."""
    shipped = Path(calibration_rules.__file__).with_suffix(".toml").read_text()
    (folder / "calibration.toml").write_text(shipped.replace("quiet_seconds = 30", "quiet_seconds = 0"))
    shipped = Path(survey_rules.__file__).with_suffix(".toml").read_text()
    (folder / "survey.toml").write_text(shipped.replace("quiet_seconds = 120", "quiet_seconds = 0"))
    (folder / "inbox").mkdir()
    shutil.copytree(night / "profiles", folder / "profiles")
    add_catalogue(night / "sky.fits", folder / "data" / "catalogues", epoch=2000.0, now=utcnow())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOROS_DATABASE_URL", database_url)
        patch.setenv("TOROS_DATA_ROOT", str(folder / "data"))
        patch.setenv("TOROS_INBOX", str(folder / "inbox"))
        patch.setenv("TOROS_PROFILES_DIR", str(folder / "profiles"))
        patch.setenv("TOROS_RULES", str(folder / "calibration.toml"))
        patch.setenv("TOROS_SURVEY_RULES", str(folder / "survey.toml"))
        yield Observatory(folder, night, Runner.from_settings())
