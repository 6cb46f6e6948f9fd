"""Limits come from the shipped file, with those of an observatory's own laid over them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toros.errors import BadProfile
from toros.instruments import load_profiles
from toros.quality.limits import LIMITED, read_limits

STEPS = Path(__file__).parents[2] / "plugins/toros/steps"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "quality.toml"


def test_every_measure_that_a_step_records_has_an_entry_with_its_unit() -> None:
    limits = read_limits().measures
    recorded = [
        found
        for path in STEPS.glob("*.py")
        for found in re.findall(r'\.measure\(\s*"(\w+)",[^"\n]*(?:"(\w+)"\))?', path.read_text())
    ]
    assert len(recorded) > 10
    for name, unit in recorded:
        assert name in limits
        if unit:
            assert limits[name].unit == unit


@pytest.mark.parametrize("name", read_limits().measures)
def test_every_measure_says_in_one_sentence_what_it_means(name: str) -> None:
    meaning = read_limits().measures[name].meaning
    assert meaning[0].isupper()
    assert meaning.endswith(".")
    assert ":" in meaning, "what it is: what it tells or what to do"


def test_every_camera_with_limits_of_its_own_is_a_shipped_one() -> None:
    assert set(read_limits().cameras) <= {camera.name for camera in load_profiles().cameras}


def test_a_camera_has_its_own_limits_and_the_common_ones_for_everything_else() -> None:
    common, seestar = read_limits().of("no such camera"), read_limits().of("Seestar S50")
    assert seestar["fwhm"].yellow > common["fwhm"].yellow  # type: ignore[operator]
    assert (seestar["fwhm"].red, seestar["fwhm"].meaning) == (common["fwhm"].red, common["fwhm"].meaning)
    assert {name: seestar[name] for name in seestar if name != "fwhm"} == {
        name: common[name] for name in common if name != "fwhm"
    }


def test_a_file_of_ones_own_says_only_what_differs(own: Path) -> None:
    own.write_text('[measures.fwhm]\nyellow = 3\nred = "none"\n[cameras.Azulcito.fwhm]\nyellow = 2.5\n')
    shipped, limits = read_limits(), read_limits(own)
    fwhm = limits.measures["fwhm"]
    assert (fwhm.yellow, fwhm.orange, fwhm.red) == (3, shipped.measures["fwhm"].orange, None)
    assert limits.measures["ellipticity"] == shipped.measures["ellipticity"]
    assert (limits.of("Azulcito")["fwhm"].yellow, limits.of("Azulcito")["fwhm"].red) == (2.5, None)
    assert limits.of("Seestar S50")["fwhm"].yellow == shipped.of("Seestar S50")["fwhm"].yellow


def test_an_empty_file_changes_nothing(own: Path) -> None:
    own.write_text("# nothing yet\n")
    assert read_limits(own) == read_limits()


def test_a_measure_of_ones_own_may_be_added(own: Path) -> None:
    own.write_text(
        '[measures.moon_glow]\nbad = "both"\nyellow = [0.9, 1.1]\nmeaning = "How uneven the sky is."\n'
    )
    assert read_limits(own).measures["moon_glow"].ranges == {"yellow": (0.9, 1.1)}


@pytest.mark.parametrize(
    ("bad", "limits", "ranges"),
    [
        ("high", "yellow = 1\nred = 3", [(-float("inf"), 1), (-float("inf"), 3)]),
        ("low", "yellow = 5\norange = 2", [(5, float("inf")), (2, float("inf"))]),
        ("both", "yellow = [-1, 1]\nred = [-inf, 9]", [(-1, 1), (-float("inf"), 9)]),
        ("high", "", []),
    ],
)
def test_a_colour_begins_where_its_limit_is_passed(
    own: Path, bad: str, limits: str, ranges: list[tuple[float, float]]
) -> None:
    own.write_text(f'[measures.haze]\nbad = "{bad}"\nmeaning = "Haze."\n{limits}\n')
    assert list(read_limits(own).measures["haze"].ranges.values()) == ranges


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[measures.fwhm]\nyellow = 9", "fwhm.*orange must be further out than yellow: 8.0, 9.0"),
        ("[measures.fwhm]\nyellow = 8", "orange must be further out"),
        ("[measures.star_count]\nred = 30", "star_count.*red must be further out than orange"),
        ("[measures.sky_level]\norange = [0, 60000]", "sky_level.*orange must be further out"),
        ("[measures.sky_level]\nyellow = 20000", r"sky_level.*yellow must be a pair \[lowest, highest\]"),
        ("[measures.fwhm]\nyellow = [1, 2]", "fwhm.*yellow must be one number, because high values are bad"),
        ("[measures.fwhm]\nyellow = 'small'", "fwhm.yellow: .*'small' is no limit"),
        ("[measures.fwhm]\nyellow = true", "fwhm.yellow: .*True is no limit"),
        ("[measures.fwhm]\nyellow = nan", "fwhm.yellow: .*nan is no limit"),
        ("[measures.sky_level]\nyellow = [9, 1]", r"sky_level.yellow: .*\[9, 1\] is no limit"),
        ("[measures.fwhm]\npurple = 3", "fwhm.purple: Extra inputs"),
        ("[measures.fwhm]\nbad = 'wide'", "fwhm.bad"),
        ("[measures.haze]\nyellow = 3", "haze.bad: Field required"),
        ("[cameras.Azulcito.fhwm]\nyellow = 3", "cameras.Azulcito: no measure is called fhwm"),
        ("[cameras.Azulcito.fwhm]\nyellow = 30", "cameras.Azulcito.fwhm.*further out"),
        ("[cameras]\nAzulcito = 3", "cameras.Azulcito"),
        ("measures = 3", "measures"),
        ("[measure.fwhm]\nyellow = 3", "measure: Extra inputs"),
        ("[measures.fwhm\n", "line 1"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_name(own: Path, text: str, said: str) -> None:
    own.write_text(text)
    with pytest.raises(BadProfile, match=said) as refused:
        read_limits(own)
    assert str(own) in refused.value.message
    assert "quality_limits" in refused.value.advice


def test_a_file_that_cannot_be_read_is_refused(own: Path) -> None:
    with pytest.raises(BadProfile, match="No such file"):
        read_limits(own)
    own.write_bytes(b"\xff\xfe")
    with pytest.raises(BadProfile, match="decode"):
        read_limits(own)


def test_only_a_frame_of_no_use_is_red() -> None:
    """The limits for a small telescope: without stars, blurred or trailed beyond use."""
    limits = read_limits().measures
    assert limits["star_count"].red == 1
    assert limits["fwhm"].red == 15
    assert limits["ellipticity"].red == 0.6
    for name in ("limiting_magnitude", "zero_point"):
        assert not limits[name].ranges, "it depends on the telescope"
    assert LIMITED == ("yellow", "orange", "red")
