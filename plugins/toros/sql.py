"""The hand-written SQL: one statement per file, each with a header that says what it answers.

In a checkout the files lie in ``include/sql``; an installed wheel carries them inside the package.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from toros.errors import Misconfigured

_PACKAGE = Path(__file__).parent
PLACES = (_PACKAGE / "_bundle" / "include" / "sql", _PACKAGE.parents[1] / "include" / "sql")


@lru_cache(maxsize=1)
def sql_folder() -> Path:
    """Return the folder of the SQL files.

    Raises
    ------
    Misconfigured
        The installation is not complete.
    """
    for place in PLACES:
        if place.is_dir():
            return place
    raise Misconfigured("the SQL files are missing", advice="install toros-airflow again")


def read_sql(name: str) -> str:
    """Return the text of one statement, for example ``fsck/F2_product_without_success``.

    Raises
    ------
    Misconfigured
        There is no such file.
    """
    path = sql_folder() / f"{name}.sql"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Misconfigured(f"there is no statement {name!r}", advice=f"look into {path.parent}") from None


def statement_names(topic: str) -> list[str]:
    """Return the names of all statements on a topic (a folder), in alphabetical order."""
    return sorted(f"{topic}/{path.stem}" for path in (sql_folder() / topic).glob("*.sql"))


def question(statement: str) -> str:
    """Return what a statement answers: its header comment as one line of text."""
    lines = []
    for line in statement.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines)
