"""``toros init``: a working folder for those who installed the package."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from toros.cli.output import AsJson, print_json
from toros.errors import StorageUnavailable

ENVIRONMENT = """\
# The settings of this TOROS, for a shell (set -a; . toros.env; set +a) and for systemd (EnvironmentFile=).
# Written by `toros init`. Paths are absolute; secrets do not belong into this file.

AIRFLOW_HOME={home}
AIRFLOW__CORE__DAGS_FOLDER={dags}
AIRFLOW__CORE__LOAD_EXAMPLES=False
# The scheduler looks for the next task of a frame ten times a second: one step follows another within 0.2 s.
AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME=0.1
# A slot is free again within a second of its task's end.
AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL=1

# Where the products (and with SQLite the database) live: the largest disk.
AIRFLOW__TOROS__DATA_ROOT={data}
# Where the camera writes; several folders are separated by commas. Files in them are only ever read.
AIRFLOW__TOROS__INBOX={inbox}
AIRFLOW__TOROS__PROFILES_DIR={profiles}
AIRFLOW__TOROS__RULES={rules}
AIRFLOW__TOROS__QUALITY_LIMITS={quality}
# AIRFLOW__TOROS__OBSERVATORY="Macon ridge"
# AIRFLOW__TOROS__DATABASE_URL=postgresql+psycopg://toros@localhost/toros
"""

QUALITY = """\
# When a measure turns yellow, orange or red: what you write here wins over the shipped limits, which
# `toros quality` lists with the meaning of every measure. For example:

# [measures.limiting_magnitude]
# yellow = 18.5
# orange = 17.5

# [cameras."My camera".fwhm]
# yellow = 4
# red = "none"
"""

SAMPLE_CAMERA = """\
# A camera of your own: copy this file to my_camera.toml, change it, and look at `toros camera list`.
# What you do not know, leave out: products then say so in a caveat. Nothing is ever invented.

name = "My camera"
brand = "Maker"
model = "Model"

# Alternatives; all cards of one must match, as regular expressions.
match = [{ INSTRUME = "(?i)my camera" }]

# Columns and rows of the unbinned, trimmed image.
pixels = [4096, 4096]
# Micrometres.
pixel_size = 9.0
# Electrons per ADU, measured from pairs of flats.
# gain = 1.5
# Electrons, measured from pairs of bias frames.
# read_noise = 8.0
# ADU where the response ends to be linear.
# saturation = 60000
# Darks warmer than this are not used, degrees Celsius.
# dark_temperature_limit = -14.0
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made if it is not there.")],
    as_json: AsJson = False,
) -> None:
    """Lay out a working folder: DAGs, SQL, settings, rules, limits of quality, a sample camera.

    Nothing is overwritten. Run it again after an upgrade: it adds what is new, and names the files that are not
    as they would be now.
    """
    folder = folder.absolute()
    files = dict(_layout(folder))
    written = [path for path, text in files.items() if _write_new(path, text)]
    kept = [path for path in files if path not in written]
    differing = [path for path in kept if path.read_bytes() != files[path].encode()]
    if as_json:
        print_json({"written": written, "kept": kept, "differing": differing})
        return
    typer.echo(f"{folder}: {len(written)} files written, {len(kept)} kept as they were")
    for path in differing:
        typer.echo(f"  {path.relative_to(folder)} is not as this version would write it")
    typer.echo("next: look through toros.env, and then")
    for line in (
        f"  set -a; . {shlex.quote(str(folder / 'toros.env'))}; set +a",
        "  toros migrate",
        "  toros camera list",
        "  airflow standalone",
    ):
        typer.echo(line)


def _layout(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield every file of a working folder with its text."""
    from toros.sql import sql_folder

    bundle = sql_folder().parents[1]
    for part in ("dags", "include/sql"):
        for source in sorted((bundle / part).rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                yield folder / source.relative_to(bundle), source.read_text(encoding="utf-8")
    shipped = Path(__file__).parents[1] / "steps"
    for name in ("calibration", "survey"):
        yield folder / f"{name}.toml", (shipped / f"{name}_rules.toml").read_text(encoding="utf-8")
    yield folder / "quality.toml", QUALITY
    # Not *.toml: a sample is no camera.
    yield folder / "profiles" / "cameras" / "my_camera.toml.sample", SAMPLE_CAMERA
    places = {
        "home": folder / "airflow",
        "dags": folder / "dags",
        "data": folder / "data",
        "inbox": folder / "inbox",
        "profiles": folder / "profiles",
        "rules": folder / "calibration.toml",
        "survey_rules": folder / "survey.toml",
        "quality": folder / "quality.toml",
    }
    quoted = {name: shlex.quote(str(path)) for name, path in places.items()}
    yield folder / "toros.env", ENVIRONMENT.format(**quoted)


def _write_new(path: Path, text: str) -> bool:
    """Write a file that is not there yet; tell whether it was written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageUnavailable(
            f"{path}: {error.strerror}", advice="choose a folder that you may write to"
        ) from error
    return True
