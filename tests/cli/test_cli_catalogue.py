"""``toros catalogue``, as a person at the telescope types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from the_command import Toros

TYCHO = (
    "RAmdeg,DEmdeg,BTmag,VTmag\n312.75,67.9,9.1,8.5\n312.80,67.95,10.2,9.5\n312.85,-67.9,11.3,10.5\n,,,12\n"
)


@pytest.fixture
def tycho(tmp_path: Path) -> Path:
    """A file of stars."""
    file = tmp_path / "Tycho 2.csv"
    file.write_text(TYCHO)
    return file


def test_a_file_is_loaded_listed_and_removed(toros: Toros, tycho: Path) -> None:
    answer = toros("catalogue", "add", tycho)
    assert (answer.code, "epoch 2000.0 was assumed" in answer.err) == (0, True)
    assert "1 without a position" in answer.out
    [known] = toros("catalogue", "list", "--json").data
    assert (known["name"], known["stars"], known["bands"], known["epoch"]) == (
        "tycho_2",
        3,
        ["BT", "VT"],
        2000,
    )
    listing = toros("catalogue", "list").out
    assert "tycho_2" in listing
    assert "BT VT" in listing
    assert toros("catalogue", "remove", "tycho_2").code == 0
    assert toros("catalogue", "list").out.strip() == "none: toros catalogue add FILE"
    assert toros("catalogue", "remove", "tycho_2").code == 3


def test_what_is_not_recognised_can_be_told(toros: Toros, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("lon,lat,m\n20.85,67.9,9.1\n")
    refused = toros("catalogue", "add", file)
    assert (refused.code, "bad_catalogue" in refused.err, "--column ra=" in refused.err) == (3, True, True)
    words = ("--column", "ra=lon", "--column", "dec=lat", "--band", "V=m", "--unit", "ra=hourangle")
    answer = toros("catalogue", "add", file, "--name", "mine", *words, "--epoch", 2016, "--json")
    assert answer.err == ""
    assert (answer.data["epoch"], answer.data["epoch_assumed"], answer.data["bands"]) == (
        2016.0,
        False,
        ["V"],
    )
    assert toros("catalogue", "cone", 312.75, 67.9, 0.01, "--json").data[0]["V"] == pytest.approx(9.1)


@pytest.mark.parametrize("word", ["ra", "=lon", "ra="])
def test_a_half_word_is_a_matter_of_usage(toros: Toros, tycho: Path, word: str) -> None:
    assert toros("catalogue", "add", tycho, "--column", word).code == 2


def test_stars_are_listed_the_brightest_first(toros: Toros, tycho: Path) -> None:
    toros("catalogue", "add", tycho)
    stars = toros("catalogue", "cone", "20:51:00", "+67:54:00", 0.5, "--json").data
    assert [star["VT"] for star in stars] == pytest.approx([8.5, 9.5])
    blue = toros("catalogue", "cone", 312.75, 67.9, 0.5, "--band", "BT", "--limit", 1, "--json").data
    assert [star["mag"] for star in blue] == pytest.approx([9.1])
    assert (
        "magnitudes in VT, epoch 2026.90" in toros("catalogue", "cone", 312, 67.9, 1, "--epoch", 2026.9).out
    )


def test_a_southern_declination_is_no_option(toros: Toros, tycho: Path) -> None:
    toros("catalogue", "add", tycho)
    assert len(toros("catalogue", "cone", 312.85, -67.9, 0.1, "--json").data) == 1
    assert len(toros("catalogue", "cone", "20:51:24", "-67:54:00", 0.1, "--json").data) == 1


def test_who_has_no_catalogue_is_told_what_to_do(toros: Toros, tycho: Path) -> None:
    answer = toros("catalogue", "cone", 10, 10, 1)
    assert (answer.code, "no_catalogue" in answer.err) == (3, True)
    assert "toros catalogue add FILE" in answer.err.splitlines()[1]
    toros("catalogue", "add", tycho)
    assert toros("catalogue", "cone", 10, 10, 1).code == 3
    assert toros("catalogue", "cone", 312.75, 67.9, 1, "--catalogue", "gaia").code == 3


@pytest.mark.parametrize("position", [("east", "10"), ("10", "100"), ("25:61:00", "0")])
def test_what_is_no_position_is_refused(toros: Toros, position: tuple[str, str]) -> None:
    assert toros("catalogue", "cone", *position, 1).code == 3


def test_catalogues_may_lie_elsewhere(toros: Toros, tycho: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOROS_CATALOGUES_DIR", str(tycho.parent / "elsewhere"))
    toros("catalogue", "add", tycho, "--name", "t2")
    assert (tycho.parent / "elsewhere" / "t2" / "v000001" / "catalogue.json").is_file()
