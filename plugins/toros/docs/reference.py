"""All pages of the reference, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toros import __version__
from toros.config import Settings
from toros.docs.calibration_rules import calibration_rules_page
from toros.docs.cameras import cameras_page
from toros.docs.caveats import caveats_page
from toros.docs.command_line import command_line_page
from toros.docs.dags import dags_page
from toros.docs.dialects import dialects_page
from toros.docs.errors import errors_page
from toros.docs.markdown import prose, table
from toros.docs.page import MARK, Page
from toros.docs.quality import quality_page
from toros.docs.settings import settings_page
from toros.docs.sql import sql_page
from toros.docs.states import states_page
from toros.docs.steps import steps_page
from toros.docs.tables import tables_page
from toros.errors import Misconfigured
from toros.instruments import load_profiles
from toros.steps.registry import find_steps
from toros.store.store import translated_os_errors


def pages_of(settings: Settings) -> list[Page]:
    """Write all pages; steps, profiles and rules are those that are in force with these settings.

    Raises
    ------
    Misconfigured
        A step, a profile, a rule or a DAG cannot be read.
    """
    steps = find_steps(settings.step_modules)
    profiles = load_profiles((settings.profiles_dir,) if settings.profiles_dir else ())
    pages = [
        command_line_page(),
        dags_page(steps),
        steps_page(steps),
        states_page(steps),
        errors_page(),
        caveats_page(),
        settings_page(),
        cameras_page(profiles.cameras),
        dialects_page(profiles.dialects),
        calibration_rules_page(settings.rules),
        quality_page(settings.quality_limits),
        tables_page(),
        sql_page(),
    ]
    return [_index(pages), *pages]


def write_reference(folder: Path, settings: Settings) -> list[Path]:
    """Write all pages into a folder, in place of those that were written there before.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    settings : Settings
        They say which steps, profiles and rules are in force.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    Misconfigured
        Something cannot be read, or somebody's own file is in the way: nothing is written then.
    Transient
        The folder cannot be written to.
    """
    texts = {folder / f"{page.name}.md": page.text for page in pages_of(settings)}
    with translated_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [path for path in texts if path.exists() and not _is_ours(path)]
        if foreign:
            raise Misconfigured(
                f"{foreign[0]} was not written by this command", advice="name another folder for the pages"
            )
        for path in folder.glob("*.md"):
            if path not in texts and _is_ours(path):
                path.unlink()  # a page of an earlier version
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8", newline="\n")
    return list(texts)


def _index(pages: Sequence[Page]) -> Page:
    return Page(
        "index",
        f"TOROS on Airflow {__version__}: reference",
        "Generated from the code and the data files by `toros docs`.",
        table(("page", "about"), ((f"[{prose(p.title)}]({p.name}.md)", prose(p.about)) for p in pages)),
    )


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n") == MARK
