"""Nights at a small simulated observatory, and workers who take its frames through all steps, without Airflow."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from toros.catalogues.loading import add_catalogue
from toros.config import Settings, load_settings
from toros.errors import NothingToDo, Transient, Unprocessable
from toros.migrations import migrate
from toros.models import State, StepRun, utcnow
from toros.models.database import Database
from toros.sim import (
    Incident,
    NightPlan,
    SimulatedFrame,
    azulcito,
    fields_of_the_night,
    reference_catalogue,
    simulate_night,
    write_profile,
)
from toros.steps import calibration_rules, survey_rules
from toros.steps.calibration_rules import read_rules
from toros.steps.discover import never_seen
from toros.steps.healing import heal
from toros.steps.plan_masters import first_quiet
from toros.steps.registry import find_step
from toros.steps.runner import AnyStep, Runner
from toros.store.inbox import scan

CAMERA = azulcito(shape=(128, 128))
FIRST_NIGHT = dt.date(2026, 11, 20)
CALIBRATION_FRAMES = 5
"""Of each kind."""

# ---------------------------------------------------------------------------------------------- observatory


def open_observatory(folder: Path, *, inbox: Path | None = None, **further: str) -> Settings:
    """Lay out a data root with an empty database.

    Masters are made of whole sets only, and science frames wait for them: what comes out of a night does then not
    depend on what happened when.
    """
    environ = {
        "TOROS_DATA_ROOT": str(folder),
        "TOROS_INBOX": str(inbox or folder / "inbox"),
        "TOROS_PROFILES_DIR": str(folder / "profiles"),
        "TOROS_RULES": str(_write_rules(folder)),
        "TOROS_SURVEY_RULES": str(_write_survey_rules(folder)),
        "TOROS_SETTLE_SECONDS": "0.5",
        "TOROS_PATIENCE_SECONDS": "1",
        **{f"TOROS_{name.upper()}": value for name, value in further.items()},
    }
    settings = load_settings(environ)
    write_profile(CAMERA, folder / "profiles")
    _load_catalogue(folder)
    settings.inbox[0].mkdir(parents=True, exist_ok=True)
    migrate(Database(settings.database_url))
    return settings


def frames_of_night(number: int, *, exposures: int) -> list[SimulatedFrame]:
    """Take the frames of the so-and-so-many-th night, with everything that goes wrong at telescopes."""
    return list(simulate_night(_plan(number, exposures), CAMERA, number))


def _plan(number: int, exposures: int) -> NightPlan:
    night = FIRST_NIGHT + dt.timedelta(days=number)
    return NightPlan(
        night,
        bias=CALIBRATION_FRAMES,
        darks=((30.0, CALIBRATION_FRAMES),),
        flats=CALIBRATION_FRAMES,
        fields=tuple(
            replace(field, exposures=exposures, exptime=30.0) for field in fields_of_the_night(night, count=2)
        ),
        density=40,  # of the sky: enough stars for so small a camera
        incidents=tuple(Incident),
    )


def _load_catalogue(folder: Path) -> None:
    """Load the stars of all nights: they look at the same fields."""
    file = folder / "sky.fits"
    reference_catalogue(_plan(0, exposures=1), CAMERA).write(file)
    add_catalogue(file, folder / "catalogues", epoch=2000.0, now=utcnow())


def _write_rules(folder: Path) -> Path:
    rules = Path(calibration_rules.__file__).with_suffix(".toml").read_text()
    whole = f"{{ Bias = {CALIBRATION_FRAMES}, Dark = {CALIBRATION_FRAMES}, Flat = {CALIBRATION_FRAMES} }}"
    for name, value in (
        ("quiet_seconds", "0"),
        ("fewest_frames", whole),
        ("missing", '{ Bias = "wait", Dark = "wait", Flat = "wait" }'),
    ):
        rules, found = re.subn(rf"^{name} = .*$", f"{name} = {value}", rules, flags=re.MULTILINE)
        assert found == 1
    path = folder / "calibration.toml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(rules)
    return path


def _write_survey_rules(folder: Path) -> Path:
    """Stack nothing."""
    rules = Path(survey_rules.__file__).with_suffix(".toml").read_text()
    rules, found = re.subn(r"^fewest_frames = .*$", "fewest_frames = 10000", rules, flags=re.MULTILINE)
    assert found == 1
    path = folder / "survey.toml"
    path.write_text(rules)
    return path


# -------------------------------------------------------------------------------------------------- workers

STAGES = (
    "load",
    "clean_calibration",
    "plan_masters",
    "combine_bias",
    "combine_dark",
    "combine_flat",
    "clean",
    "preprocess",
    "solve",
    "retry_solve",
    "review",
    "measure",
)
"""Up to measured frames: which frames are of one field, and in its reference, depends on which of them came first."""

DONE, DONE_BEFORE, NOT_YET = "done", "done before", "not yet"


def work(
    settings: Settings, stages: Sequence[str] = STAGES, *, found_work: Callable[[], object] = lambda: None
) -> None:
    """Work through what there is, step by step, beside others who do the same; end when nothing is left.

    Nobody begins with a later stage before the earlier ones are done for all frames.

    Parameters
    ----------
    settings : Settings
        Of the observatory.
    stages : sequence of str
        Steps to go through, after the discovery of new files.
    found_work : callable
        Called each time there is something to do.
    """
    runner = Runner(Database(settings.database_url), settings)
    while True:
        try:
            heal(runner.database, runner.store, runner.clock())
            step, waiting = _first_stage(runner, stages)
            if step is None:
                return
            found_work()
            if DONE not in _attempt_all(runner, step, waiting):
                time.sleep(0.02)  # a file still grows, or all is in other hands
        except Transient:
            time.sleep(0.02)


def work_until_stuck(settings: Settings) -> set[str]:
    """Work alone until nothing can be done for passing reasons; return the codes of what is in the way."""
    runner = Runner(Database(settings.database_url), settings)
    while True:
        try:
            heal(runner.database, runner.store, runner.clock())
            step, waiting = _first_stage(runner, STAGES)
            results = _attempt_all(runner, step, waiting) if step is not None else {"nothing is left"}
        except Transient as error:
            results = {error.code}
        if results.isdisjoint({DONE, NOT_YET}):
            return results


def race(settings: Settings, step_name: str, items: Sequence[int], starting_line: Any, results: Any) -> None:
    """Run a step on items at the same moments as others do; tell what became of each."""
    runner = Runner(Database(settings.database_url), settings)
    step = find_step(step_name)()
    for item in items:
        starting_line.wait()
        results.put((item, _attempt(runner, step, item)))


def _first_stage(runner: Runner, stages: Sequence[str]) -> tuple[AnyStep | None, list[Any]]:
    """Find the first stage where something waits, and what waits there."""
    if any(never_seen(runner.database, scan(runner.settings.inbox))):
        return find_step("discover")(), [None]
    for name in stages:
        step = find_step(name)()
        waiting = _waiting_for(runner, step)
        if waiting:
            return step, waiting
    return None, []


def _waiting_for(runner: Runner, step: AnyStep) -> list[Any]:
    """Return the items that are to go through a step, whoever holds them."""
    with runner.database.read() as session:
        if step.takes is None:
            return [None] if first_quiet(session, read_rules(runner.settings.rules)) else []
        return list(
            session.scalars(
                select(step.takes.id)
                .join(step.takes.state)
                .where(State.name == step.from_state, *step.conditions)
                .order_by(step.takes.id)
            )
        )


def _attempt_all(runner: Runner, step: AnyStep, items: Sequence[int | None]) -> set[str]:
    return {_attempt(runner, step, item) for item in items}


def _attempt(runner: Runner, step: AnyStep, item_id: int | None) -> str:
    """Run a step; return how it ended: done, done before, not yet, or the code of an error that may pass."""
    try:
        return DONE_BEFORE if runner.run(step, item_id).again else DONE
    except Unprocessable:
        return DONE
    except NothingToDo:
        return NOT_YET
    except Transient as error:
        return error.code


def count_runs(settings: Settings, *statuses: str) -> int:
    """Return how many step runs are recorded, of any status or of these."""
    query = select(func.count()).select_from(StepRun)
    if statuses:
        query = query.where(StepRun.status.in_(statuses))
    with Database(settings.database_url).read() as session:
        return session.scalar(query) or 0
