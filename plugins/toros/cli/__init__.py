"""The ``toros`` command.

Nothing heavy is imported before a command runs: ``toros --help`` and shell completion answer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from toros import __version__
from toros.cli import (
    astrometry,
    camera,
    candidate,
    catalogue,
    configuration,
    demo,
    docs,
    health,
    layout,
    legend,
    lightcurve,
    master,
    observatory,
    quality,
    realbogus,
    retry,
    run,
    schema,
    simulate,
    state,
    status,
)
from toros.cli.exits import EXIT_CODES, Commands

app = typer.Typer(
    name="toros",
    cls=Commands,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks print local variables, passwords among them
)

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Set up": (
        layout.init,
        schema.migrate,
        schema.downgrade,
        configuration.config,
    ),
    "Run": (run.load, run.run, retry.retry, astrometry.solve),
    "Look": (
        status.status,
        status.show,
        astrometry.review,
        status.log,
        status.steps,
        quality.quality,
        lightcurve.lightcurve,
        legend.errors,
        legend.caveats,
        docs.docs,
    ),
    "Care": (health.fsck, health.heal),
    "Try out": (demo.demo, simulate.simulate),
}

for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)

app.add_typer(candidate.app, name="candidate", rich_help_panel="Look")
app.add_typer(candidate.references_app, name="reference", rich_help_panel="Look")
app.add_typer(realbogus.app, name="realbogus", rich_help_panel="Look")
app.add_typer(master.app, name="master", rich_help_panel="Care")
app.add_typer(observatory.app, name="observatory", rich_help_panel="Set up")
app.add_typer(observatory.campaigns_app, name="campaign", rich_help_panel="Set up")
app.add_typer(camera.app, name="camera", rich_help_panel="Set up")
app.add_typer(catalogue.app, name="catalogue", rich_help_panel="Set up")
app.add_typer(state.app, name="state", rich_help_panel="Set up")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def toros(
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the Python traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Run the TOROS image pipeline: from raw FITS frames to alerts, in atomic, recorded steps."""


def main() -> None:
    """Run the command."""
    app()
