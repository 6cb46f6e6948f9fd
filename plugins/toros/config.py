"""The settings: one table, read the same way by Airflow's processes and by the ``toros`` command.

Each option is looked up in this order, the first hit wins:

1. the environment variable ``TOROS_<NAME>``,
2. the environment variable ``AIRFLOW__TOROS__<NAME>``,
3. section ``[toros]`` of ``$AIRFLOW_HOME/airflow.cfg``,
4. the default.
"""

from __future__ import annotations

import configparser
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from toros.errors import BadParameters

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """One setting: what it is called, what it takes and what it means."""

    name: str
    type: Literal["string", "integer", "float", "boolean"]
    default: str
    description: str
    example: str | None = None
    sensitive: bool = False


OPTIONS: tuple[Option, ...] = (
    Option(
        "data_root",
        "string",
        "",
        "Folder where products, the staging area and (with SQLite) the database live. "
        "Empty means `toros` inside $AIRFLOW_HOME.",
        "/data/toros",
    ),
    Option(
        "inbox",
        "string",
        "",
        "Watched folders, separated by commas: where the camera writes. Files in them are only ever read. "
        "Empty means `inbox` inside the data root.",
        "/data/camera,/mnt/telescope2",
    ),
    Option(
        "database_url",
        "string",
        "",
        "SQLAlchemy URL of the science database; the Airflow connection `toros_default` wins where set. "
        "Empty means an SQLite file inside the data root.",
        "postgresql+psycopg://toros:secret@localhost/toros",
        sensitive=True,
    ),
    Option(
        "observatory",
        "string",
        "Macon ridge",
        "Name of the observatory that frames of a camera without a campaign belong to.",
    ),
    Option(
        "accept_unknown_cameras",
        "boolean",
        "true",
        "Register frames of a camera without profile under the generic one, with a caveat. "
        "Otherwise they are rejected.",
    ),
    Option(
        "profiles_dir",
        "string",
        "",
        "Folder with further camera and dialect profiles (TOML); they win over the shipped ones.",
        "/data/toros/profiles",
    ),
    Option(
        "rules",
        "string",
        "",
        "File with calibration rules (TOML) that replaces the shipped one.",
        "/data/toros/calibration.toml",
    ),
    Option(
        "quality_limits",
        "string",
        "",
        "File with limits of quality (TOML): what it says wins over the shipped limits, the others stay.",
        "/data/toros/quality.toml",
    ),
    Option(
        "photometry_rules",
        "string",
        "",
        "File that says which catalogue band serves which filter (TOML); it replaces the shipped one.",
        "/data/toros/photometry.toml",
    ),
    Option(
        "survey_rules",
        "string",
        "",
        "File that says how frames are stacked, compared and searched (TOML); it replaces the shipped one.",
        "/data/toros/survey.toml",
    ),
    Option(
        "real_bogus_model",
        "string",
        "",
        "File with a model that tells real candidates from bogus ones (`toros realbogus train`); "
        "it replaces the shipped one.",
        "/data/toros/real_bogus.npz",
    ),
    Option(
        "catalogues_dir",
        "string",
        "",
        "Folder of the reference catalogues that `toros catalogue add` loads. "
        "Empty means `catalogues` inside the data root.",
        "/data/catalogues",
    ),
    Option(
        "step_modules",
        "string",
        "",
        "Importable modules with steps of your own, separated by commas.",
        "my_observatory.steps",
    ),
    Option(
        "raw_files",
        "string",
        "copy",
        "How a raw file enters the data root: `copy`, or `link` for a hard link "
        "(same file system; nothing may write to the file afterwards).",
    ),
    Option(
        "settle_seconds",
        "float",
        "2",
        "A file whose completeness its header cannot tell (compressed, foreign) counts as complete "
        "when it did not change for so long.",
    ),
    Option(
        "patience_seconds",
        "float",
        "60",
        "A file that stays shorter than its header promises for so long is taken for truncated.",
    ),
    Option(
        "poll_seconds",
        "float",
        "5",
        "The watched folders are scanned at least so often, for file systems that send no events.",
    ),
    Option(
        "frames_per_run",
        "integer",
        "64",
        "At most so many science frames are taken by one run of toros_survey; "
        "what remains wakes the next one.",
    ),
    Option(
        "pixel_pool",
        "string",
        "default_pool",
        "Airflow pool of the tasks that hold whole frames in memory. Give it as many slots as frames fit "
        "into memory; combining takes two.",
        "toros_pixels",
    ),
)


@dataclass(frozen=True)
class Settings:
    """The effective settings of this process."""

    data_root: Path
    inbox: tuple[Path, ...]
    database_url: str
    observatory: str
    accept_unknown_cameras: bool
    profiles_dir: Path | None
    rules: Path | None
    quality_limits: Path | None
    photometry_rules: Path | None
    survey_rules: Path | None
    real_bogus_model: Path | None
    catalogues_dir: Path | None
    step_modules: tuple[str, ...]
    raw_files: Literal["copy", "link"]
    settle_seconds: float
    patience_seconds: float
    poll_seconds: float
    frames_per_run: int
    pixel_pool: str

    @property
    def catalogues(self) -> Path:
        """Folder of the reference catalogues."""
        return self.catalogues_dir or self.data_root / "catalogues"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the effective settings.

    Raises
    ------
    BadParameters
        A value cannot be understood.
    """
    environ = os.environ if environ is None else environ
    airflow_home = Path(
        environ.get("AIRFLOW_HOME") or Path(environ.get("HOME") or "~").expanduser() / "airflow"
    )
    section = _airflow_section(airflow_home / "airflow.cfg")
    raw = {option.name: _lookup(option, environ, section) for option in OPTIONS}
    data_root = _path(raw["data_root"]) or airflow_home / "toros"
    raw_files = raw["raw_files"]
    if raw_files not in ("copy", "link"):
        raise BadParameters(f"[toros] raw_files is {raw_files!r}", advice="use `copy` or `link`")
    return Settings(
        data_root=data_root,
        inbox=tuple(map(_folder, _words(raw["inbox"]))) or (data_root / "inbox",),
        database_url=raw["database_url"] or f"sqlite:///{data_root / 'toros.db'}",
        observatory=raw["observatory"],
        accept_unknown_cameras=_convert("accept_unknown_cameras", raw, _boolean),
        profiles_dir=_path(raw["profiles_dir"]),
        rules=_path(raw["rules"]),
        quality_limits=_path(raw["quality_limits"]),
        photometry_rules=_path(raw["photometry_rules"]),
        survey_rules=_path(raw["survey_rules"]),
        real_bogus_model=_path(raw["real_bogus_model"]),
        catalogues_dir=_path(raw["catalogues_dir"]),
        step_modules=tuple(_words(raw["step_modules"])),
        raw_files=raw_files,  # type: ignore[arg-type]  # narrowed above; mypy keeps str
        settle_seconds=_convert("settle_seconds", raw, _seconds),
        patience_seconds=_convert("patience_seconds", raw, _seconds),
        poll_seconds=_convert("poll_seconds", raw, _seconds),
        frames_per_run=_convert("frames_per_run", raw, _count),
        pixel_pool=raw["pixel_pool"],
    )


@lru_cache(maxsize=4)
def _airflow_section(path: Path) -> dict[str, str]:
    # Interpolation off: passwords and templates may hold per cent signs.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BadParameters(f"{path} cannot be read: {error}", advice="correct the file") from None
    return dict(parser["toros"]) if parser.has_section("toros") else {}


def _lookup(option: Option, environ: Mapping[str, str], section: Mapping[str, str]) -> str:
    name = option.name.upper()
    for value in (
        environ.get(f"TOROS_{name}"),
        environ.get(f"AIRFLOW__TOROS__{name}"),
        section.get(option.name),
    ):
        if value is not None:
            return value.strip()
    return option.default


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _path(text: str) -> Path | None:
    return _folder(text) if text else None


def _folder(text: str) -> Path:
    return (
        Path(text).expanduser().absolute()
    )  # rows name files by this path, whoever reads them from wherever


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    known = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }
    return known[text.lower()]


def _convert(name: str, raw: Mapping[str, str], to: Callable[[str], T]) -> T:
    try:
        return to(raw[name])
    except (KeyError, ValueError):
        raise BadParameters(f"[toros] {name} is {raw[name]!r}", advice="correct the setting") from None
