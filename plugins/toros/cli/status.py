"""``toros steps``, ``toros status``, ``toros show``, ``toros log``: looking at the stream."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from toros.cli.output import AsJson, print_fields, print_json, print_listing, print_rows
from toros.cli.run import Night
from toros.cli.stream import open_runner

RECENTLY = dt.timedelta(days=1)

RUN_COUNTS = ("succeeded", "failed", "skipped", "abandoned", "running")


def steps(as_json: AsJson = False) -> None:
    """List the steps: what each takes and leaves, and how many items wait for it now."""
    from toros.cli.views import stream
    from toros.steps.registry import find_steps

    runner = open_runner()
    known = find_steps(runner.settings.step_modules)
    with runner.database.read() as session:
        rows = stream.steps(session, known)
    columns = ("name", "version", "takes", "from_state", "to_state", "error_state", "groups", "waiting")
    print_listing(rows, columns, as_json=as_json)


def status(night: Night = None, as_json: AsJson = False) -> None:
    """Show the stream at a glance: states, failures with their reasons, what waits and why, masters, disk."""
    from toros.cli.views import stream

    runner = open_runner()
    evening = night.date() if night else None
    with runner.database.read() as session:
        overview: dict[str, Any] = {
            "night": evening,
            "states": stream.states(session, evening),
            "failures": stream.failures(session, evening),
            "waiting": stream.waiting(session, evening),
            "runs": stream.runs(session, evening, runner.clock() - RECENTLY),
            "masters": stream.masters(session, evening),
            "disk": stream.disk(session, runner.settings.data_root),
        }
    if as_json:
        print_json(overview)
        return
    when = f"the night of {evening}" if evening else "the last 24 hours"
    for part, columns, title in (
        ("states", ("state", "kind", "items"), "Items"),
        ("failures", ("state", "code", "items", "last", "for_example", "message"), "Failures"),
        ("waiting", ("state", "step", "items", "since", "why"), "Waiting"),
        ("masters", ("imagetype", "state", "masters", "newest_night"), "Masters"),
        ("runs", ("step", "last", *RUN_COUNTS), f"Step runs of {when}"),
    ):
        print_rows(overview[part], columns, title=title)
    typer.echo(_disk_line(overview["disk"]))


def show(
    item: Annotated[int, typer.Argument(metavar="ITEM", help="Number of an item.")], as_json: AsJson = False
) -> None:
    """Show one item: what it is, its history, its files with their caveats, its lineage, its quality."""
    from toros.cli.views.items import item_sheet

    with open_runner().database.read() as session:
        sheet = item_sheet(session, item)
    print_sheet(sheet, as_json=as_json)


def log(
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed or died.")] = False,
    step: Annotated[str | None, typer.Option(help="Only runs of this step.")] = None,
    newest: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the step runs, the newest first."""
    from toros.cli.views import runs

    with open_runner().database.read() as session:
        rows = runs.log(session, failed=failed, step=step, newest=newest)
    columns = ("run", "step", "item", "status", "started_at", "seconds", "host", "error_code")
    print_listing(rows, (*columns, "error_message"), as_json=as_json)


def print_sheet(sheet: dict[str, Any], *, as_json: bool) -> None:
    """Print all that is known of an item."""
    if as_json:
        print_json(sheet)
        return
    print_fields(sheet["item"], title=f"{sheet['item']['kind']} {sheet['item']['id']}")
    if "rejection" in sheet:
        print_fields(sheet["rejection"], title="Refused")
    print_rows(sheet["history"], ("at", "state", "step", "run", "by", "why"), title="History")
    print_rows(sheet["runs"], ("run", "step", "status", "started_at", "seconds", "error_code"), title="Runs")
    if "frames" in sheet:
        columns = ("item", "name", "observation_date", "exptime", "ccdtemp", "level", "noise", "state")
        print_rows(sheet["frames"], columns, title="Made of")
    print_rows(sheet["products"], ("product", "kind", "version", "bytes", "path"), title="Files")
    for product in sheet["products"]:
        for code, meaning in product["caveats"].items():
            typer.echo(f"  caveat of file {product['product']}, {code}: {meaning}")
    lineage = ("product", "kind", "version", "item", "of", "path")
    print_rows(sheet["made_from"], lineage, title="Made from")
    print_rows(sheet["used_in"], lineage, title="Used in")
    print_rows(sheet["quality"], ("name", "value", "unit", "run"), title="Quality")


def _disk_line(disk: dict[str, Any]) -> str:
    giga = 1e9
    return (
        f"{disk['data_root']}: {disk['products']} files of {disk['products_bytes'] / giga:.2f} GB, "
        f"{disk['free_bytes'] / giga:.1f} of {disk['total_bytes'] / giga:.1f} GB are free"
    )
