"""Which masters a frame gets, and what is said about the choice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from catalogue import NIGHT, Catalogue

from toros.caveats import Caveat
from toros.config import Settings
from toros.models import Campaign, Pawprint
from toros.models.database import Database
from toros.science.geometry import Amplifier, Geometry
from toros.steps.calibration_rules import CalibrationRules, read_rules
from toros.steps.cameras import Camera, camera_of
from toros.steps.matching import Masters, choose_masters, makeshifts, masters_in_the_making

DAY = dt.timedelta(days=1)


@pytest.fixture
def rules() -> CalibrationRules:
    return read_rules()


@pytest.fixture
def rows(database: Database) -> Iterator[Catalogue]:
    with database.write() as session:
        yield Catalogue(session)


@pytest.fixture
def campaign(rows: Catalogue) -> Campaign:
    return rows.campaign()


class Choice:
    """Chooses masters for a frame, and tells them by their rows."""

    def __init__(self, rows: Catalogue, rules: CalibrationRules, settings: Settings) -> None:
        self.rows, self.rules, self.settings = rows, rules, settings

    def __call__(self, frame: Pawprint, camera: Camera | None = None) -> Masters:
        camera = camera or camera_of(frame, self.settings)
        return choose_masters(self.rows.session, frame, self.rules, camera)


@pytest.fixture
def choose(rows: Catalogue, rules: CalibrationRules, settings: Settings) -> Choice:
    return Choice(rows, rules, settings)


def _with_overscan(frame: Pawprint, settings: Settings) -> Camera:
    """Return the camera of a frame, had it eight columns of overscan."""
    bare = camera_of(frame, settings)
    ny, nx = frame.naxis2, frame.naxis1
    amplifier = Amplifier(
        data=(slice(0, ny), slice(0, nx - 8)),
        overscan=(slice(0, ny), slice(nx - 8, nx)),
        target=(slice(0, ny), slice(0, nx - 8)),
        gain=1.5,
        read_noise=10.0,
    )
    return Camera(bare.profile, Geometry((ny, nx), (ny, nx - 8), (amplifier,)), bare.saturation, ())


# ------------------------------------------------------------------------------------------- the usual night


def test_a_frame_gets_the_bias_dark_and_flat_of_its_night_without_any_caveat(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    expected = (
        rows.master(campaign, "Bias"),
        rows.master(campaign, "Dark", 120.0),
        rows.master(campaign, "Flat"),
    )
    frame = rows.light(campaign, 120.0)
    chosen = choose(frame)
    assert chosen.product_ids == rows.products(*expected)
    assert (chosen.dark_scale, chosen.caveats, chosen.missing) == (1.0, (), frozenset())
    assert makeshifts(chosen, frame) == frozenset()


def test_without_any_master_everything_is_missing(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    chosen = choose(rows.light(campaign))
    assert chosen.product_ids == ()
    assert chosen.missing == {"Bias", "Dark", "Flat"}


@pytest.mark.parametrize("state", ["master_wanted", "master_rejected", "failed_to_combine"])
def test_only_accepted_masters_count(rows: Catalogue, campaign: Campaign, choose: Choice, state: str) -> None:
    rows.master(campaign, "Bias", state=state)
    assert choose(rows.light(campaign)).bias is None


def test_masters_of_another_camera_never_fit(rows: Catalogue, campaign: Campaign, choose: Choice) -> None:
    rows.master(rows.campaign("Another camera"), "Bias")
    assert choose(rows.light(campaign)).bias is None


@pytest.mark.parametrize(
    "columns",
    [
        {"xbinning": 2, "ybinning": 2},
        {"naxis1": 64},
        {"gain_setting": 200.0},
        {"gain_setting": None},
        {"offset_setting": 20.0},
        {"readoutm": "Fast"},
    ],
)
@pytest.mark.parametrize("imagetype", ["Bias", "Dark", "Flat"])
def test_masters_of_another_set_up_never_fit(
    rows: Catalogue, campaign: Campaign, choose: Choice, imagetype: str, columns: dict[str, Any]
) -> None:
    rows.master(campaign, imagetype, 120.0 if imagetype == "Dark" else None, **columns)
    assert choose(rows.light(campaign)).product_ids == ()


def test_a_set_up_that_no_header_tells_fits_one_that_no_header_tells(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    unsaid: dict[str, Any] = {"gain_setting": None, "offset_setting": None, "readoutm": None}
    bias = rows.master(campaign, "Bias", **unsaid)
    assert choose(rows.light(campaign, **unsaid)).product_ids == rows.products(bias)


def test_the_newest_version_of_a_set_is_used(rows: Catalogue, campaign: Campaign, choose: Choice) -> None:
    newest = rows.master(campaign, "Bias", version=2)
    rows.master(campaign, "Bias", version=1)
    rows.master(campaign, "Bias", version=3, state="master_rejected")
    assert choose(rows.light(campaign)).product_ids == rows.products(newest)


def test_what_a_master_of_few_frames_is_worth_is_passed_on(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias", caveats=("few_frames", "first_master"))
    assert choose(rows.light(campaign)).caveats == (Caveat.FEW_FRAMES,)


# ---------------------------------------------------------------------------------------------------- flats


def test_a_flat_is_of_the_filter_of_the_frame(rows: Catalogue, campaign: Campaign, choose: Choice) -> None:
    rows.master(campaign, "Flat", filter="B")
    visual = rows.master(campaign, "Flat", filter="V")
    assert choose(rows.light(campaign, filter="V")).product_ids == rows.products(visual)
    assert "Flat" in choose(rows.light(campaign, filter="R")).missing
    assert "Flat" in choose(rows.light(campaign, filter=None)).missing


def test_a_flat_is_good_at_any_temperature(rows: Catalogue, campaign: Campaign, choose: Choice) -> None:
    flat = rows.master(campaign, "Flat", set_temp=5.0)
    chosen = choose(rows.light(campaign))
    assert chosen.product_ids == rows.products(flat)
    assert chosen.caveats == ()


# ---------------------------------------------------------------------------------------------------- darks


def test_exposure_times_within_the_tolerance_are_equal(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias")
    rows.master(campaign, "Dark", 120.5)
    chosen = choose(rows.light(campaign, 120.0))
    assert chosen.dark_scale == 1.0
    assert chosen.caveats == ()


def test_without_a_dark_of_its_time_the_nearest_one_is_scaled(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    bias = rows.master(campaign, "Bias")
    rows.master(campaign, "Dark", 10.0)
    near = rows.master(campaign, "Dark", 60.0)
    frame = rows.light(campaign, 120.0)
    chosen = choose(frame)
    assert chosen.product_ids == rows.products(bias, near)
    assert (chosen.dark_scale, chosen.caveats) == (2.0, (Caveat.DARK_SCALED,))
    assert makeshifts(chosen, frame) == {"Dark"}


@pytest.mark.parametrize(("exptime", "scale"), [(299.0, 4.983), (301.0, None), (1.0, 1 / 60)])
def test_a_dark_is_scaled_up_by_no_more_than_the_rules_allow(
    rows: Catalogue, campaign: Campaign, choose: Choice, exptime: float, scale: float | None
) -> None:
    rows.master(campaign, "Bias")
    rows.master(campaign, "Dark", 60.0)
    chosen = choose(rows.light(campaign, exptime))
    if scale is None:
        assert chosen.dark is None
    else:
        assert chosen.dark_scale == pytest.approx(scale, rel=1e-3)


def test_a_dark_that_holds_the_bias_replaces_it_and_is_never_scaled(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias")
    dark = rows.master(campaign, "Dark", 60.0, has_bias=True)
    same = choose(rows.light(campaign, 60.0))
    assert same.product_ids == rows.products(dark), "the bias is in it already"
    assert same.missing == {"Flat"}
    assert same.caveats == ()
    frame = rows.light(campaign, 120.0)
    other = choose(frame)
    assert other.product_ids == rows.products(dark)
    assert (other.dark_scale, other.caveats) == (1.0, (Caveat.DARK_OTHER_EXPOSURE,))
    assert makeshifts(other, frame) == {"Dark"}


def test_a_dark_free_of_the_bias_is_of_no_use_without_a_bias(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Dark", 120.0)
    chosen = choose(rows.light(campaign, 120.0))
    assert chosen.product_ids == ()
    assert chosen.missing == {"Bias", "Dark", "Flat"}


def test_a_scaled_dark_is_better_than_one_that_holds_the_bias_of_another_time(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    bias = rows.master(campaign, "Bias")
    rows.master(campaign, "Dark", 100.0, has_bias=True)
    free = rows.master(campaign, "Dark", 60.0)
    assert choose(rows.light(campaign, 120.0)).product_ids == rows.products(bias, free)


def test_overscan_frees_a_dark_from_the_pedestal_so_that_it_may_be_scaled(
    rows: Catalogue, campaign: Campaign, choose: Choice, settings: Settings
) -> None:
    dark = rows.master(campaign, "Dark", 60.0, has_bias=True)
    frame = rows.light(campaign, 120.0)
    chosen = choose(frame, _with_overscan(frame, settings))
    assert chosen.product_ids == rows.products(dark)
    assert (chosen.dark_scale, chosen.caveats) == (2.0, (Caveat.DARK_SCALED,))


def test_the_structure_of_the_bias_is_subtracted_once_only(
    rows: Catalogue, campaign: Campaign, choose: Choice, settings: Settings
) -> None:
    """A dark made without a bias holds its structure, whatever the overscan took away."""
    rows.master(campaign, "Bias")
    dark = rows.master(campaign, "Dark", 120.0, has_bias=True)
    frame = rows.light(campaign, 120.0)
    assert choose(frame, _with_overscan(frame, settings)).product_ids == rows.products(dark)


# ------------------------------------------------------------------------------------------ other nights


@pytest.mark.parametrize("days", [-3, 2])
def test_a_master_of_another_night_is_used_with_a_caveat(
    rows: Catalogue, campaign: Campaign, choose: Choice, days: int
) -> None:
    bias = rows.master(campaign, "Bias", night=NIGHT + days * DAY)
    frame = rows.light(campaign)
    chosen = choose(frame)
    assert chosen.product_ids == rows.products(bias)
    assert chosen.caveats == (Caveat.OTHER_NIGHT,)
    assert makeshifts(chosen, frame) == {"Bias"}


@pytest.mark.parametrize(("days", "fits"), [(60, True), (61, False), (-60, True), (-61, False)])
def test_a_master_may_be_as_old_as_the_rules_say(
    rows: Catalogue, campaign: Campaign, choose: Choice, days: int, fits: bool
) -> None:
    rows.master(campaign, "Bias", night=NIGHT + days * DAY)
    assert (choose(rows.light(campaign)).bias is not None) == fits


def test_the_nearest_night_is_taken_and_of_two_the_earlier_one(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    for days in (-9, 4, -4):
        expected = rows.master(campaign, "Bias", night=NIGHT + days * DAY)
    assert choose(rows.light(campaign)).product_ids == rows.products(expected)


# ------------------------------------------------------------------------------------------- temperature


def test_a_master_as_cold_as_the_frame_is_worth_more_than_one_of_its_night(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias", set_temp=-10.0)
    cold = rows.master(campaign, "Bias", night=NIGHT - 5 * DAY)
    chosen = choose(rows.light(campaign))
    assert chosen.product_ids == rows.products(cold)
    assert chosen.caveats == (Caveat.OTHER_NIGHT,)


def test_a_warmer_master_is_used_with_a_caveat_the_nearest_one_first(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias", set_temp=0.0)
    nearest = rows.master(campaign, "Bias", set_temp=-15.0, night=NIGHT - DAY)
    chosen = choose(rows.light(campaign))
    assert chosen.product_ids == rows.products(nearest)
    assert set(chosen.caveats) == {Caveat.OTHER_NIGHT, Caveat.OTHER_TEMPERATURE}


def test_a_camera_without_a_set_point_is_matched_by_what_it_measures(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias", set_temp=31.0)
    mild = rows.master(campaign, "Bias", set_temp=24.0)
    chosen = choose(rows.light(campaign, set_temp=None, ccdtemp=25.5))
    assert chosen.product_ids == rows.products(mild)
    assert chosen.caveats == ()


def test_a_set_point_that_was_not_reached_does_not_count(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias", set_temp=-20.0)
    chosen = choose(rows.light(campaign, set_temp=-20.0, ccdtemp=-11.0))
    assert chosen.caveats == (Caveat.OTHER_TEMPERATURE,)


def test_nothing_is_said_of_a_temperature_that_nobody_knows(
    rows: Catalogue, campaign: Campaign, choose: Choice
) -> None:
    rows.master(campaign, "Bias", set_temp=None)
    assert choose(rows.light(campaign)).caveats == ()


# ------------------------------------------------------------------------------------------ in the making


def test_frames_that_are_not_combined_yet_are_masters_in_the_making(
    rows: Catalogue, campaign: Campaign
) -> None:
    frame = rows.light(campaign)
    assert masters_in_the_making(rows.session, frame) == frozenset()
    rows.calibration(campaign, "Dark", 60.0, state="raw_data")
    rows.calibration(campaign, "Flat", 5.0)
    rows.calibration(campaign, "Bias", state="failed_to_clean")
    assert masters_in_the_making(rows.session, frame) == {"Dark", "Flat"}


def test_a_master_is_in_the_making_until_it_is_accepted_or_rejected(
    rows: Catalogue, campaign: Campaign
) -> None:
    frame = rows.light(campaign)
    rows.master(campaign, "Dark", 60.0, state="master_rejected")
    rows.master(campaign, "Flat")
    rows.master(campaign, "Bias", state="master_wanted")
    assert masters_in_the_making(rows.session, frame) == {"Bias"}


def test_what_is_made_for_another_night_or_camera_is_not_waited_for(
    rows: Catalogue, campaign: Campaign
) -> None:
    rows.calibration(campaign, "Bias", night=NIGHT - DAY)
    rows.calibration(rows.campaign("Another camera"), "Bias")
    rows.master(campaign, "Bias", night=NIGHT + DAY, state="master_wanted")
    assert masters_in_the_making(rows.session, rows.light(campaign)) == frozenset()
