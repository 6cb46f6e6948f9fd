"""The tree of errors is as it is drawn."""

from __future__ import annotations

import pickle
import re

import pytest

from toros import errors
from toros.errors import (
    DiskFull,
    FileMissing,
    Misconfigured,
    NotFits,
    NothingToDo,
    TorosError,
    Transient,
    Unprocessable,
    all_errors,
    error_of_code,
)

CLASSES = list(all_errors().values())


def drawn() -> dict[str, tuple[str | None, str]]:
    """Read the drawing: parent and code of each class."""
    branches: list[str] = []
    found: dict[str, tuple[str | None, str]] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)(\w+)(?: +(\w+))?", line)
        if match is None or not match[2][0].isupper():
            continue
        depth = len(match[1]) // 4
        parent = branches[depth - 1] if depth else None
        branches[depth:] = [match[2]]
        found[match[2]] = (parent, match[3] or "")
    return found


def test_the_drawing_shows_every_class_in_its_place() -> None:
    assert {name: parent for name, (parent, _) in drawn().items()} == {
        cls.__name__: None if cls is TorosError else cls.__bases__[0].__name__ for cls in CLASSES
    }


def test_the_drawing_shows_the_code_of_every_leaf() -> None:
    leaves = {cls.__name__: cls.code for cls in CLASSES if cls.__bases__[0] not in (Exception, TorosError)}
    assert {name: code for name, (_, code) in drawn().items() if name in leaves} == leaves


def test_codes_are_unique_and_no_class_borrows_that_of_its_parent() -> None:
    def below(cls: type[TorosError]) -> list[type[TorosError]]:
        return [cls, *(each for child in cls.__subclasses__() for each in below(child))]

    ours = [cls for cls in below(TorosError) if cls.__module__ == errors.__name__]
    assert all("code" in vars(cls) for cls in ours)
    assert len({cls.code for cls in ours}) == len(ours)
    assert all(re.fullmatch(r"[a-z_]{1,60}", cls.code) for cls in ours)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_every_error_has_exactly_one_fate(cls: type[TorosError]) -> None:
    fates = [fate for fate in (Transient, Unprocessable, NothingToDo, Misconfigured) if issubclass(cls, fate)]
    assert len(fates) == (0 if cls is TorosError else 1)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_an_error_survives_the_way_to_another_process(cls: type[TorosError]) -> None:
    error = cls("frame 17 — Günther", advice="call him")

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls
    assert (copy.message, copy.advice, str(copy)) == (error.message, error.advice, str(error))
    assert str(copy) == f"[{cls.code}] frame 17 — Günther — call him"


def test_an_error_gives_the_advice_of_its_class_unless_told_otherwise() -> None:
    assert DiskFull("no room").explanation.startswith("no room — free some space")
    assert DiskFull("no room", advice="").explanation == "no room"
    assert str(DiskFull("no room", advice="buy a disk")) == "[disk_full] no room — buy a disk"


def test_python_recognises_our_file_errors() -> None:
    assert issubclass(FileMissing, FileNotFoundError)
    assert issubclass(DiskFull, OSError)


def test_an_error_can_be_told_again_from_its_row() -> None:
    first = NotFits("a photograph")
    again = error_of_code("not_fits", first.explanation)
    assert (type(again), str(again)) == (NotFits, str(first))
    assert type(error_of_code("of_a_step_that_is_gone", "x")) is Unprocessable
    assert type(error_of_code(None, "x")) is Unprocessable


def test_a_message_can_be_printed_and_stored_whatever_was_in_the_header() -> None:
    assert NotFits("a\x00b\x1b[31m\udcff\tc\nd é").message == "a\\x00b\\x1b[31m\\udcff\tc\nd é"
