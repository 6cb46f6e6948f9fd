"""Which band of a catalogue serves which filter is data."""

from __future__ import annotations

from pathlib import Path

import pytest

from toros.errors import BadProfile, NoCatalogue
from toros.steps import photometry_rules
from toros.steps.photometry_rules import read_photometry_rules

GAIA, TYCHO, APASS, TWOMASS = ("G", "BP", "RP"), ("BT", "VT"), ("B", "V", "g", "r", "i"), ("J", "H", "K")
SHIPPED = Path(photometry_rules.__file__).with_suffix(".toml")


@pytest.mark.parametrize(
    ("name", "catalogue", "band", "colour", "approximate"),
    [
        ("V", APASS, "V", ("B", "V"), False),
        ("V", TYCHO, "VT", ("BT", "VT"), True),
        ("V", ("VT",), "VT", None, True),
        ("V", GAIA, "G", ("BP", "RP"), True),
        ("B", APASS, "B", ("B", "V"), False),
        ("R", APASS, "r", ("B", "V"), True),
        ("r", APASS, "r", ("g", "r"), False),
        ("r'", APASS, "r", ("g", "r"), False),
        ("SDSS R", APASS, "r", ("g", "r"), False),
        ("johnson v", APASS, "V", ("B", "V"), False),
        ("i", GAIA, "RP", ("BP", "RP"), True),
        ("Red", APASS, "r", ("g", "r"), True),
        ("Luminance", GAIA, "G", ("BP", "RP"), True),
        (None, TYCHO, "VT", ("BT", "VT"), True),
        ("Ha", APASS, "r", ("g", "r"), True),
        ("Schott BG39", GAIA, "G", ("BP", "RP"), True),
    ],
)
def test_a_filter_gets_the_band_that_is_nearest_to_it(name, catalogue, band, colour, approximate) -> None:
    chosen = read_photometry_rules().reference_band(name, catalogue)
    assert (chosen.band, chosen.colour, chosen.approximate) == (band, colour, approximate)
    assert chosen.reference_colour == (
        0.0 if colour is None else read_photometry_rules().sun["-".join(colour)]
    )


def test_a_catalogue_without_a_fitting_band_is_refused_with_advice() -> None:
    with pytest.raises(NoCatalogue, match="load a catalogue with one of V, VT"):
        read_photometry_rules().reference_band("V", TWOMASS)


def test_the_bands_of_a_filter_can_be_asked_for() -> None:
    assert read_photometry_rules().bands_for("V")[:2] == ("V", "VT")


def test_the_filters_of_a_picture_can_take_the_names_of_johnson(tmp_path: Path) -> None:
    text = (
        SHIPPED.read_text()
        .replace('names = ["B", ', "names = [")
        .replace('names = ["Blue", ', 'names = ["Blue", "B", ')
    )
    (tmp_path / "mine.toml").write_text(text)
    assert read_photometry_rules(tmp_path / "mine.toml").reference_band("B", APASS).approximate


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('own = ["V"]', 'own = ["X"]'),
        ('"B-V" = 0.65', ""),
        ('names = ["Green", ', 'names = ["Green", "V", '),
        ("[other]", "[others]"),
        ("[sun]", "[sun"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = SHIPPED.read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    with pytest.raises(BadProfile, match=r"mine\.toml"):
        read_photometry_rules(tmp_path / "mine.toml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadProfile):
        read_photometry_rules(tmp_path / "none.toml")
