"""Every hand-written statement can be found, says what it answers, and runs on both databases as it is."""

from __future__ import annotations

import re

import pytest

from toros.errors import Misconfigured
from toros.sql import question, read_sql, sql_folder, statement_names

ALL = sorted(
    path.relative_to(sql_folder()).with_suffix("").as_posix() for path in sql_folder().rglob("*.sql")
)


def test_the_statements_of_a_topic_are_found_by_name() -> None:
    names = statement_names("fsck")
    assert names == sorted(names)
    assert set(names) <= set(ALL)
    assert statement_names("nothing") == []


def test_a_statement_that_is_not_there_is_refused() -> None:
    with pytest.raises(Misconfigured, match="no statement 'fsck/F9'"):
        read_sql("fsck/F9")


@pytest.mark.parametrize("name", ALL)
def test_a_file_holds_one_statement_under_a_header_that_says_what_it_answers(name: str) -> None:
    text = read_sql(name)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    assert len(question(text)) > 20
    assert body.strip().rstrip(";").count(";") == 0
    assert re.match(r"(SELECT|WITH)\b", body.strip())
