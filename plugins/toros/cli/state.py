"""``toros state``: the states of the stream."""

from __future__ import annotations

from typing import Annotated

import typer

from toros.cli.output import AsJson, print_listing
from toros.cli.stream import open_runner

app = typer.Typer(help="States of the stream: list them, add those of your own steps.", no_args_is_help=True)


@app.command("list")
def list_states(as_json: AsJson = False) -> None:
    """List the states, in their order along the pipeline."""
    from sqlalchemy import select

    from toros.models import State

    with open_runner().database.read() as session:
        rows = [
            {"name": state.name, "order": state.order, "is_error": state.is_error}
            for state in session.scalars(select(State).order_by(State.order, State.id))
        ]
    print_listing(rows, ("name", "order", "is_error"), as_json=as_json)


@app.command("add")
def add_state(
    name: Annotated[str, typer.Argument(help="Its name, as steps name it.")],
    order: Annotated[int, typer.Option(help="Where it stands along the pipeline; see `toros state list`.")],
    error: Annotated[bool, typer.Option("--error", help="It is an error state.")] = False,
) -> None:
    """Add a state."""
    from toros.cli.enrol import refuse_known
    from toros.models import State

    with open_runner().database.write() as session:
        refuse_known(session, State, name)
        session.add(State(name=name, order=order, is_error=error))
    typer.echo(f"state {name} is known now")
