"""The start of an exposure is found in every notation, and belongs to the night of its evening."""

from __future__ import annotations

import datetime as dt

import pytest
from astropy.io import fits
from astropy.time import Time
from hypothesis import assume, given
from hypothesis import strategies as st

from toros.errors import BadHeader, NoDate
from toros.instruments import julian_date, observing_night
from toros.instruments.dates import start_of_exposure

MOMENT = dt.datetime(2012, 6, 17, 1, 56, 40, tzinfo=dt.UTC)
MOMENTS = st.integers(0, 120 * 365 * 86_400_000_000).map(
    lambda microseconds: dt.datetime(1980, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
)


@pytest.fixture(scope="module")
def generic(profiles):
    return profiles.dialects[-1]


@pytest.mark.parametrize(
    "cards",
    [
        {"DATE-OBS": "2012-06-17T01:56:40"},
        {"DATE-OBS": "2012-06-17T01:56:40.000"},
        {"DATE-OBS": "2012-06-17T01:56:40Z"},
        {"DATE-OBS": "2012-06-17 01:56:40"},
        {"DATE-OBS": "2012/06/17 01:56:40"},
        {"DATE-OBS": "2012-06-16T22:56:40-03:00"},
        {"DATE-OBS": "2012-06-17", "TIME-OBS": "01:56:40"},
        {"DATE-OBS": "2012-06-17", "UT": "1:56:40"},
        {"DATE-OBS": "2012-06-17", "UTSTART": "01:56:40.00"},
        {"DATE-OBS": "2012-06-17", "UTC-OBS": "01:56:40 UT"},
        {"DATE-OBS": "17/06/2012", "TIME-OBS": "01:56:40"},
        {"DATE-OBS": "2012-06-17T01:56:39,9999999"},
        {"DATE-OBS": "2012-06-17T01:55:100", "JD": 2456095.581018519},
        {"DATE-OBS": "2012-06-17", "MJD-OBS": 56095.081018519},
        {"JD": 2456095.581018519},
        {"JD": "2456095,581018519"},
        {"MJD-OBS": 56095.081018519},
        {"DATE-OBS": "2012-06-17T01:57:46.184", "TIMESYS": "TT"},
        {"DATE-OBS": "2012-06-17T01:57:14", "TIMESYS": "TAI"},
        {"DATE-OBS": "2012-06-16T24:00:00", "TIME-OBS": "12:00:00", "DATE-BEG": "2012-06-17T01:56:40"},
    ],
    ids=str,
)
def test_one_moment_in_many_notations(cards, generic):
    expected = dt.datetime(2012, 6, 17, tzinfo=dt.UTC) if "24:00" in str(cards) else MOMENT
    found = start_of_exposure(header_of(cards), generic, exptime=60.0)
    assert abs(found - expected) < dt.timedelta(milliseconds=1)
    assert found.tzinfo is dt.UTC


def test_two_digit_years_are_those_of_the_last_century(generic):
    found = start_of_exposure(header_of({"DATE-OBS": "19/05/94", "TIME-OBS": "15:41:16"}), generic, 0.0)
    assert found == dt.datetime(1994, 5, 19, 15, 41, 16, tzinfo=dt.UTC)


def test_a_leap_second_is_the_next_midnight(generic):
    found = start_of_exposure(header_of({"DATE-OBS": "2016-12-31T23:59:60"}), generic, 0.0)
    assert found == dt.datetime(2017, 1, 1, tzinfo=dt.UTC)


@given(MOMENTS)
def test_an_iso_date_survives_to_the_microsecond(generic, moment):
    text = moment.isoformat(timespec="microseconds").removesuffix("+00:00")
    assert start_of_exposure(header_of({"DATE-OBS": text}), generic, 0.0) == moment


@given(MOMENTS, st.integers(0, 9))
def test_a_seventh_decimal_is_rounded(generic, moment, digit):
    text = moment.isoformat(timespec="microseconds").removesuffix("+00:00") + str(digit)
    found = start_of_exposure(header_of({"DATE-OBS": text}), generic, 0.0)
    assert abs(found - moment) <= dt.timedelta(microseconds=1)
    assert (found == moment) or digit >= 5


@given(MOMENTS.filter(lambda moment: moment.year < 2027))
def test_julian_dates_agree_with_astropy(moment):
    assert julian_date(moment) == pytest.approx(Time(moment).utc.jd, abs=1e-9)


@given(MOMENTS)
def test_a_julian_date_alone_gives_the_moment(generic, moment):
    mjd = julian_date(moment) - 2400000.5
    assume(mjd % 1)
    found = start_of_exposure(header_of({"MJD-OBS": mjd}), generic, 0.0)
    assert abs(found - moment) < dt.timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("comment", "seconds_before"),
    [("System Clock:Est. Frame Start", 0), ("System Clock:Est. Frame Mid Point", 5), ("Frame Grabbed", 10)],
)
def test_sharpcap_tells_in_a_comment_which_moment_it_means(comment, seconds_before, profiles):
    sharpcap = next(dialect for dialect in profiles.dialects if dialect.name == "sharpcap")
    header = fits.Header([("DATE-OBS", "2012-06-17T01:56:40.0000000", comment)])
    found = start_of_exposure(header, sharpcap, exptime=10.0)
    assert found == MOMENT - dt.timedelta(seconds=seconds_before)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"DATE": "2012-06-17T01:56:40"},
        {"DATE-LOC": "2012-06-17T01:56:40"},
        {"DATE-OBS": ""},
        {"DATE-OBS": "2012-06-17"},
        {"DATE-OBS": "2012-06-17", "MJD-OBS": 56095.0},
        {"MJD-OBS": 0.0},
        {"JD": "unknown"},
    ],
    ids=str,
)
def test_without_day_and_time_there_is_no_date(cards, generic):
    with pytest.raises(NoDate):
        start_of_exposure(header_of(cards), generic, 0.0)


@pytest.mark.parametrize(
    "cards",
    [
        {"DATE-OBS": "yesterday"},
        {"DATE-OBS": "2012-02-30T01:56:40"},
        {"DATE-OBS": "2012-06-17T25:00:00"},
        {"DATE-OBS": "1997/09/29", "UT": "##################"},
        {"DATE-OBS": "2012-06-17T01:56:40", "TIMESYS": "LOCAL"},
    ],
    ids=str,
)
def test_a_date_that_makes_no_sense_is_a_bad_header(cards, generic):
    with pytest.raises(BadHeader):
        start_of_exposure(header_of(cards), generic, 0.0)


@pytest.mark.parametrize(
    ("moment", "longitude", "night"),
    [
        ("2012-06-17T01:56:40", -76.9, "2012-06-16"),  # an evening in Maryland
        ("2012-06-17T10:30:00", -67.328, "2012-06-16"),  # dawn on Cordon Macon
        ("2012-06-17T16:29:00", -67.328, "2012-06-16"),  # just before its noon
        ("2012-06-17T16:30:00", -67.328, "2012-06-17"),  # just after it
        ("2012-06-17T10:30:00", 149.06, "2012-06-17"),  # an evening in Australia
        ("2012-06-17T10:30:00", 149.06 + 360, "2012-06-17"),
    ],
)
def test_a_night_is_named_by_its_evening(moment, longitude, night):
    date_obs = dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)
    assert observing_night(date_obs, longitude) == dt.date.fromisoformat(night)


@given(MOMENTS, st.floats(-180, 180))
def test_twelve_hours_around_local_midnight_are_one_night(moment, longitude):
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(hours=longitude / 15)
    hours = [-11.99, -6, 0, 6, 11.99]
    assert len({observing_night(midnight + dt.timedelta(hours=h), longitude) for h in hours}) == 1


def header_of(cards):
    return fits.Header(list(cards.items()))
