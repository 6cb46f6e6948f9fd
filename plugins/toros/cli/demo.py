"""``toros demo``: two simulated nights go through the real Airflow."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from toros.demo.night import DemoNights
    from toros.models.database import Database
    from toros.sandbox import Sandbox
    from toros.sim import SimulatedFrame

DAGS = ("toros_survey", "toros_masters", "toros_stack")
PATIENCE_SECONDS = 420.0
LABELS = {
    "Arrival": "files accounted for",
    "CalFile": "calibration frames",
    "MasterCal": "master frames",
    "Pawprint": "science frames",
    "Stack": "stacks",
    "Candidate": "candidates",
}
USER = PASSWORD = "admin"  # noqa: S105  it listens to this machine only


def demo(
    folder: Annotated[
        Path, typer.Option(help="Everything goes here; an earlier demonstration in it is removed.")
    ] = Path(".demo"),
    size: Annotated[int, typer.Option(min=128, help="Rows and columns of the simulated camera.")] = 1024,
    interval: Annotated[float, typer.Option(min=0, help="Seconds between two frames.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the simulated nights.")] = 1,
    exit_after: Annotated[
        bool,
        typer.Option("--exit", help="Return when the nights are through, instead of leaving Airflow up."),
    ] = False,
) -> None:
    """Send two simulated nights through the real Airflow, and show what became of them.

    On the second night the sky has changed: what was found of it is compared with the truth.
    """
    from rich.console import Console

    from toros.demo.night import prepare_nights
    from toros.models.database import Database
    from toros.sandbox import Sandbox
    from toros.sql import sql_folder

    console = Console(width=None if sys.stdout.isatty() else 130)
    folder = _emptied(folder.resolve())
    console.print("[bold]Two nights at the simulated observatory[/bold]")
    nights = prepare_nights(
        folder / "data", size=size, night=dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1), seed=seed
    )
    console.print(f"  {len(nights.frames)} files of {size} x {size} pixels are ready to be taken")
    console.print(
        "[bold]Starting Airflow[/bold] (scheduler, DAG processor, triggerer, API server; about a minute)"
    )
    database = Database(nights.settings.database_url)
    with Sandbox(
        folder,
        dags=sql_folder().parents[1] / "dags",
        dag_ids=DAGS,
        environ=nights.environ,
        user=USER,
        password=PASSWORD,
    ) as airflow:
        console.print(f"  the web UI is at [bold]{airflow.url}[/bold] (user {USER}, password {PASSWORD})")
        passed = (
            _watch(console, "first", nights, nights.first, database, interval)
            and _watch(console, "second", nights, nights.second, database, interval)
            and _report(console, nights, database)
        )
        if not exit_after:
            _stay(console, airflow, nights)
    if not passed:
        raise typer.Exit(1)


def _emptied(folder: Path) -> Path:
    """Remove an earlier demonstration, and nothing else."""
    from toros.errors import BadParameters

    if folder.exists():
        if any(folder.iterdir()) and not (folder / "sandbox.json").exists():
            raise BadParameters(f"{folder} holds something else", advice="name an empty folder")
        shutil.rmtree(folder)
    return folder


def _watch(
    console: Console,
    title: str,
    nights: DemoNights,
    frames: tuple[SimulatedFrame, ...],
    database: Database,
    interval: float,
) -> bool:
    """Let the camera write the frames of a night, and show how far the pipeline is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from toros.demo.progress import is_stacked, look
    from toros.steps.survey_rules import read_survey_rules

    console.print(f"[bold]The {title} night: the camera writes[/bold] into {nights.inbox}")
    rules = read_survey_rules(nights.settings.survey_rules).stacks
    files = look(database).of("Arrival") + len(frames)
    camera = nights.start_camera(frames, interval)
    began = time.monotonic()
    columns = (TextColumn("  {task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        rows = {kind: bars.add_task(label, total=None) for kind, label in LABELS.items()}
        while time.monotonic() - began < PATIENCE_SECONDS:
            progress = look(database)
            for kind, row in rows.items():
                total = files if kind == "Arrival" else progress.of(kind) or None
                bars.update(row, completed=progress.done(kind), total=total)
            if not camera.is_alive() and progress.is_complete(files) and is_stacked(database, rules):
                return True
            time.sleep(0.5)
    console.print(
        f"[red]Not done after {PATIENCE_SECONDS:.0f} s[/red]; see the logs below {nights.settings.data_root.parent}"
    )
    return False


def _report(console: Console, nights: DemoNights, database: Database) -> bool:
    """Print what became of the nights; tell whether it is what should have."""
    from toros.demo.progress import failures, latencies, rejections
    from toros.demo.tables import (
        frames_table,
        masters_table,
        product_paths,
        rejections_table,
        stacks_table,
    )
    from toros.models import utcnow
    from toros.steps.fsck import fsck
    from toros.store.store import Store

    for table in (rejections_table, masters_table, frames_table, stacks_table):
        console.print(table(database))
    _show_what_is_new(console, nights, database)
    for step, result in (("measure", "measurements"), ("find_candidates", "candidates")):
        seconds = latencies(database, step, nights.night)
        console.print(
            f"From the last byte of a frame of the second night to its {result}: "
            f"median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s"
        )
    for kind, what in (("picture", "pictures"), ("contact_sheet", "contact sheets of candidates")):
        paths = product_paths(database, kind)
        console.print(f"{len(paths)} {what}, the last one: {nights.settings.data_root / paths[-1]}")
    report = fsck(database, Store(nights.settings.data_root), nights.settings, utcnow())
    wrong = [str(violation) for violation in report.violations]
    if rejections(database) != nights.expected_rejections:
        wrong.append(
            f"rejected were {dict(rejections(database))}, expected {dict(nights.expected_rejections)}"
        )
    for kind, name, state in failures(database):
        if name in nights.spoiled:
            console.print(
                f"[yellow]{name} ended as {state}: it was spoiled ({nights.spoiled[name]})[/yellow]"
            )
        else:
            wrong.append(f"{kind} {name} ended as {state}")
    for sentence in wrong:
        console.print(f"[red]{sentence}[/red]")
    console.print("" if wrong else "[green]Every file is accounted for; fsck finds nothing.[/green]")
    return not wrong


def _show_what_is_new(console: Console, nights: DemoNights, database: Database) -> None:
    """Print the candidates beside the truth."""
    from toros.cli.views.candidates import candidates
    from toros.demo.recovery import changes_on, false_ones, name_detections, recoveries
    from toros.demo.tables import candidates_table, recovery_table

    with database.read() as session:
        rows = candidates(session)
    changes = changes_on(nights.second)
    named = name_detections(database, changes)
    real = {row["item"] for row in rows if row["predicted"] == "real"}
    console.print(candidates_table(rows, named))
    console.print(recovery_table(recoveries(changes, named, real), len(false_ones(named, real))))


def _stay(console: Console, airflow: Sandbox, nights: DemoNights) -> None:
    console.print(f"\nLook around: [bold]{airflow.url}[/bold] (user {USER}, password {PASSWORD})")
    console.print(f"Copy FITS files of your own into {nights.inbox} and watch. Ctrl-C ends it.")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("\nStopping Airflow")
