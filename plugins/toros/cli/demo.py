"""``toros demo``: a simulated night goes through the real Airflow."""

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

    from toros.demo.night import DemoNight
    from toros.models.database import Database
    from toros.sandbox import Sandbox

DAGS = ("toros_survey", "toros_masters")
PATIENCE_SECONDS = 420.0
USER = PASSWORD = "admin"  # noqa: S105  it listens to this machine only


def demo(
    folder: Annotated[
        Path, typer.Option(help="Everything goes here; an earlier demonstration in it is removed.")
    ] = Path(".demo"),
    size: Annotated[int, typer.Option(min=128, help="Rows and columns of the simulated camera.")] = 1024,
    interval: Annotated[float, typer.Option(min=0, help="Seconds between two frames.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the simulated night.")] = 1,
    exit_after: Annotated[
        bool, typer.Option("--exit", help="Return when the night is through, instead of leaving Airflow up.")
    ] = False,
) -> None:
    """Send a simulated night through the real Airflow, and show what became of it."""
    from rich.console import Console

    from toros.demo.night import prepare_night
    from toros.models.database import Database
    from toros.sandbox import Sandbox
    from toros.sql import sql_folder

    console = Console(width=None if sys.stdout.isatty() else 130)
    folder = _emptied(folder.resolve())
    console.print("[bold]A night at the simulated observatory[/bold]")
    night = prepare_night(
        folder / "data", size=size, night=dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1), seed=seed
    )
    console.print(f"  {len(night.frames)} files of {size} x {size} pixels are ready to be taken")
    console.print(
        "[bold]Starting Airflow[/bold] (scheduler, DAG processor, triggerer, API server; about a minute)"
    )
    database = Database(night.settings.database_url)
    with Sandbox(
        folder,
        dags=sql_folder().parents[1] / "dags",
        dag_ids=DAGS,
        environ=night.environ,
        user=USER,
        password=PASSWORD,
    ) as airflow:
        console.print(f"  the web UI is at [bold]{airflow.url}[/bold] (user {USER}, password {PASSWORD})")
        passed = _watch(console, night, database, interval) and _report(console, night, database)
        if not exit_after:
            _stay(console, airflow, night)
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


def _watch(console: Console, night: DemoNight, database: Database, interval: float) -> bool:
    """Let the camera write, and show how far the pipeline is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from toros.demo.progress import look

    console.print(f"[bold]The camera writes[/bold] into {night.inbox}")
    camera = night.start_camera(interval)
    began = time.monotonic()
    columns = (TextColumn("  {task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        rows = {
            "Arrival": bars.add_task("files accounted for", total=len(night.frames)),
            "CalFile": bars.add_task("calibration frames", total=None),
            "MasterCal": bars.add_task("master frames", total=None),
            "Pawprint": bars.add_task("science frames", total=None),
        }
        while time.monotonic() - began < PATIENCE_SECONDS:
            progress = look(database)
            for kind, row in rows.items():
                total = len(night.frames) if kind == "Arrival" else progress.of(kind) or None
                bars.update(row, completed=progress.done(kind), total=total)
            if not camera.is_alive() and progress.is_complete(len(night.frames)):
                return True
            time.sleep(0.5)
    console.print(
        f"[red]Not done after {PATIENCE_SECONDS:.0f} s[/red]; see the logs below {night.settings.data_root.parent}"
    )
    return False


def _report(console: Console, night: DemoNight, database: Database) -> bool:
    """Print what became of the night; tell whether it is what should have."""
    from toros.demo.progress import latencies, look, rejections
    from toros.demo.tables import frames_table, masters_table, pictures, rejections_table
    from toros.models import utcnow
    from toros.steps.fsck import fsck
    from toros.store.store import Store

    for table in (rejections_table(database), masters_table(database), frames_table(database)):
        console.print(table)
    seconds = latencies(database)
    if seconds:
        console.print(
            f"From the last byte of a science frame to its measurements: "
            f"median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s"
        )
    drawn = pictures(database)
    if drawn:
        console.print(f"{len(drawn)} pictures, the first one: {night.settings.data_root / drawn[0]}")
    report = fsck(database, Store(night.settings.data_root), night.settings, utcnow())
    failures = [str(violation) for violation in report.violations]
    if rejections(database) != night.expected_rejections:
        failures.append(
            f"rejected were {dict(rejections(database))}, expected {dict(night.expected_rejections)}"
        )
    failures += [
        f"{n} {kind} ended as {state}"
        for (kind, state), n in look(database).counts.items()
        if state.startswith("failed") or state == "wcs_review"
    ]
    for failure in failures:
        console.print(f"[red]{failure}[/red]")
    console.print("[green]Every file is accounted for; fsck finds nothing.[/green]" if not failures else "")
    return not failures


def _stay(console: Console, airflow: Sandbox, night: DemoNight) -> None:
    console.print(f"\nLook around: [bold]{airflow.url}[/bold] (user {USER}, password {PASSWORD})")
    console.print(f"Copy FITS files of your own into {night.inbox} and watch. Ctrl-C ends it.")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("\nStopping Airflow")
