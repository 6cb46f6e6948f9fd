"""``toros docs``: the reference, from the code and the data files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toros.cli.stream import effective_settings


def docs(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", file_okay=False, help="Where the pages go; made if it is not there."),
    ],
) -> None:
    """Write the reference, as Markdown: commands, DAGs, steps, states, errors, settings, cameras, tables, SQL.

    Steps, profiles and rules of your own are in it. Pages that this command wrote before are replaced; no other
    file is touched.
    """
    from toros.docs.reference import write_reference

    pages = write_reference(folder, effective_settings())
    typer.echo(f"{folder}: {len(pages)} pages written; begin with {pages[0].name}")
