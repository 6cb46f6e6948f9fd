"""Each measure gets a colour, the worst colour rules, and what is not green says why."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toros.quality.judge import Colour, judge
from toros.quality.limits import QualityLimits, read_limits

LIMITS = QualityLimits.model_validate(
    {
        "measures": {
            "fwhm": {
                "unit": "arcsec",
                "bad": "high",
                "yellow": 4,
                "orange": 6,
                "red": 15,
                "meaning": "Focus.",
            },
            "star_count": {"bad": "low", "yellow": 15, "red": 1, "meaning": "Look for clouds."},
            "sky_level": {
                "unit": "electron",
                "bad": "both",
                "yellow": [-20, 20_000],
                "orange": [-200, 50_000],
                "meaning": "Look for the moon.",
            },
            "zero_point": {"unit": "mag", "bad": "low", "meaning": "It informs."},
        },
        "cameras": {"wide": {"fwhm": {"yellow": 5}}},
    }
)


def colour(camera: str = "any", **measures: float) -> Colour:
    return judge(measures, LIMITS, camera).colour


def test_colours_are_ordered_from_good_to_bad() -> None:
    assert list(Colour) == sorted([Colour.RED, Colour.YELLOW, Colour.GREEN, Colour.ORANGE])
    assert Colour.GREEN < Colour.YELLOW < Colour.ORANGE < Colour.RED
    assert Colour.RED >= Colour.RED > Colour.ORANGE >= Colour.YELLOW
    assert Colour.YELLOW <= Colour.ORANGE
    assert max(Colour) is Colour.RED
    assert Colour.RED == "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "green"),
        (4, "green"),
        (4.01, "yellow"),
        (6, "yellow"),
        (6.01, "orange"),
        (15.01, "red"),
        (1e9, "red"),
    ],
)
def test_what_is_bad_if_high_gets_worse_above_each_limit(value: float, expected: str) -> None:
    assert colour(fwhm=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(99, "green"), (15, "green"), (14, "yellow"), (1, "yellow"), (0, "red")]
)
def test_what_is_bad_if_low_gets_worse_below_each_limit(value: float, expected: str) -> None:
    assert colour(star_count=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-201, "orange"),
        (-21, "yellow"),
        (0, "green"),
        (20_000, "green"),
        (20_001, "yellow"),
        (50_001, "orange"),
    ],
)
def test_what_is_bad_on_both_sides_gets_worse_on_both(value: float, expected: str) -> None:
    assert colour(sky_level=value) == expected


def test_the_worst_colour_rules() -> None:
    assert colour(fwhm=2, star_count=100, sky_level=300) is Colour.GREEN
    assert colour(fwhm=2, star_count=100, sky_level=60_000) is Colour.ORANGE
    assert colour(fwhm=2, star_count=0, sky_level=60_000) is Colour.RED


def test_what_was_not_measured_or_has_no_limit_is_not_judged() -> None:
    assert judge({}, LIMITS, "any").colours == {}
    assert colour() is Colour.GREEN
    verdict = judge({"fwhm": 2.0, "zero_point": -99.0, "moon_glow": 1e9}, LIMITS, "any")
    assert verdict.colours == {"fwhm": Colour.GREEN}
    assert verdict.reasons == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_green(value: float) -> None:
    assert colour(fwhm=value) is Colour.RED
    assert colour(star_count=value) is Colour.RED
    assert colour(sky_level=value) is Colour.ORANGE, "the worst that it can be"
    assert colour(zero_point=value) is Colour.YELLOW
    (reason,) = judge({"fwhm": value}, LIMITS, "any").reasons
    assert str(reason) == "fwhm could not be measured: Focus."
    assert reason.limit is None


def test_a_camera_is_judged_by_its_own_limits() -> None:
    assert (colour("any", fwhm=4.5), colour("wide", fwhm=4.5)) == (Colour.YELLOW, Colour.GREEN)
    assert colour("wide", fwhm=6.5) is Colour.ORANGE


def test_reasons_are_sentences_with_the_worst_first() -> None:
    verdict = judge({"fwhm": 7.2, "sky_level": -30.25, "star_count": 0}, LIMITS, "any")
    assert [str(reason) for reason in verdict.reasons] == [
        "star count 0 is below 1: Look for clouds.",
        "fwhm 7.2 arcsec is above 6: Focus.",
        "sky level -30.25 electron is below -20: Look for the moon.",
    ]
    fwhm = verdict.reasons[1]
    assert (fwhm.measure, fwhm.value, fwhm.unit, fwhm.limit, fwhm.colour) == (
        "fwhm",
        7.2,
        "arcsec",
        6,
        Colour.ORANGE,
    )


@given(values=st.dictionaries(st.sampled_from(sorted(read_limits().measures)), st.floats()))
def test_a_verdict_is_green_exactly_if_it_has_no_reasons(values: dict[str, float]) -> None:
    verdict = judge(values, read_limits(), "generic")
    assert (verdict.colour is Colour.GREEN) == (not verdict.reasons)
    assert {reason.measure for reason in verdict.reasons} >= {
        name for name, value in values.items() if not math.isfinite(value)
    }
    assert all(verdict.colours[reason.measure] is reason.colour for reason in verdict.reasons)
    assert all(first.colour >= second.colour for first, second in itertools.pairwise(verdict.reasons))
