"""``toros fsck`` and ``toros heal``: nothing lost, nothing doubled, nothing left behind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from toros.cli.exits import Exit
from toros.cli.output import AsJson, print_json, print_listing, print_rows
from toros.cli.stream import open_runner


def fsck(
    no_heal: Annotated[
        bool, typer.Option("--no-heal", help="Report dead runs, do not clear them away.")
    ] = False,
    no_checksums: Annotated[
        bool, typer.Option("--no-checksums", help="Compare the sizes of files only, do not read them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that database, data root and watched folders tell the same story; exit with 1 if they do not.

    The pipeline may run meanwhile.
    """
    from toros.steps.fsck import fsck as check

    runner = open_runner()
    report = check(
        runner.database,
        runner.store,
        runner.settings,
        runner.clock(),
        heal=not no_heal,
        checksums=not no_checksums,
    )
    if as_json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        typer.echo("checked: " + ", ".join(f"{count} {what}" for what, count in report.checked.items()))
        if report.healed:
            typer.echo(f"healed: runs {', '.join(map(str, report.healed))}")
        if report.waiting:
            typer.echo(
                f"{report.waiting} watched files may still be growing, and are registered when they rest"
            )
        rows = [asdict(violation) for violation in report.violations]
        print_rows(rows, ("rule", "item_id", "what"), title="Violations")
        if sum(report.found.values()) > len(rows):
            typer.echo(
                "not all are listed: " + ", ".join(f"{n} of {rule}" for rule, n in report.found.items())
            )
    raise typer.Exit(Exit.OK if report.ok else Exit.DATA)


def heal(as_json: AsJson = False) -> None:
    """Remove what killed processes left behind: stale claims, running records, orphan files."""
    from toros.steps.healing import heal as heal_runs

    runner = open_runner()
    runs = heal_runs(runner.database, runner.store, runner.clock())
    print_listing([{"run": run} for run in runs], ("run",), as_json=as_json, title="Healed", empty="nothing")
