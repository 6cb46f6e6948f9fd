"""When an exposure started, and which observing night it belongs to."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

from astropy.io import fits
from astropy.time import Time

from toros.errors import BadHeader, NoDate
from toros.instruments.cards import Keyword, number_of, text_of
from toros.instruments.dialect import Dialect

_DATE = re.compile(r"(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})(?:[T\s]+(?P<time>\S.*))?")
_OLD_DATE = re.compile(
    r"(?P<day>\d{1,2})[-/](?P<month>\d{1,2})[-/](?P<year>\d{2,4})(?:[T\s]+(?P<time>\S.*))?"
)
_TIME = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2}(?:[.,]\d*)?))?\s*"
    r"(?:Z|UTC?|GMT|(?P<zone>[+-]\d{2}:?\d{2}))?",
    re.IGNORECASE,
)
_J2000 = dt.datetime(2000, 1, 1, 12, tzinfo=dt.UTC)
_J2000_JD = 2451545.0
_MJD_ZERO = 2400000.5
_UTC_NAMES = {"", "UTC", "UT", "UT1", "GMT", "Z", "UNIVERSAL"}
_TIME_SCALES = {"TAI", "TT", "TDB"}


def start_of_exposure(header: fits.Header, dialect: Dialect, exptime: float) -> dt.datetime:
    """Find out when an exposure started.

    A date with a time of its own is preferred to a date and a time in two cards, and both to Julian dates,
    which carry fewer digits and are often cut to the day.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the frame.
    dialect : Dialect
        Names of the cards, and what the comment of the date says about the moment that is meant.
    exptime : float
        Seconds.

    Returns
    -------
    datetime
        UTC, to the microsecond.

    Raises
    ------
    NoDate
        No card gives date and time.
    BadHeader
        A date is there, and cannot be understood; or it is in local time.
    """
    quantities = dialect.quantities
    clock = text_of(header, quantities.time_obs)
    complaint: Exception = NoDate("no card says when the exposure started")
    for keyword in quantities.date_obs:
        text = text_of(header, [keyword])
        if text is None:
            continue
        try:
            date, time = split_date(text)
            time = time or clock
            if time is None:
                complaint = NoDate(f"{keyword.card} = {text!r} gives the day, and no card the time of day")
                continue
            moment = _at(date, time)
        except ValueError as error:
            complaint = BadHeader(f"{keyword.card} = {text!r} is not a date with time ({error})")
            continue
        passed = _fraction_passed(header, keyword, dialect) * exptime
        return _to_utc(moment, text_of(header, quantities.time_scale)) - dt.timedelta(seconds=passed)
    julian = _julian_date(header, dialect)
    if julian is None:
        raise complaint
    return julian


def split_date(text: str) -> tuple[dt.date, str | None]:
    """Split a date card into its day and its time of day, which may be missing.

    Understood are ``2012-06-17T01:56:40``, ``2012/06/17``, and the FITS notation before 1999, ``17/06/98``.

    Raises
    ------
    ValueError
        The text is none of these, or there is no such day.
    """
    match = _DATE.fullmatch(text) or _OLD_DATE.fullmatch(text)
    if match is None:
        raise ValueError("neither yyyy-mm-dd nor dd/mm/yy")
    year = int(match["year"])
    # The two-digit years of the old notation all belong to the twentieth century: FITS 4.0, section 4.4.2.1.
    century = 1900 if len(match["year"]) == 2 else 0
    return dt.date(year + century, int(match["month"]), int(match["day"])), match["time"]


def julian_date(moment: dt.datetime) -> float:
    """Give the Julian date of a moment (UTC days, as TORITOS keeps it)."""
    return _J2000_JD + (moment - _J2000) / dt.timedelta(days=1)


def observing_night(date_obs: dt.datetime, longitude_deg: float) -> dt.date:
    """Name the observing night of a moment: local noon to local noon, by the date of its evening.

    Parameters
    ----------
    date_obs : datetime
        Any moment, with its time zone.
    longitude_deg : float
        Longitude of the observatory, degrees, east positive.

    Returns
    -------
    date
        In local mean solar time, which needs no time zone tables and never jumps: two frames of one night get
        the same date whatever the civil clock does.
    """
    east = (longitude_deg + 180.0) % 360.0 - 180.0
    local = date_obs.astimezone(dt.UTC) + dt.timedelta(hours=east / 15.0)
    return (local - dt.timedelta(hours=12)).date()


def _at(date: dt.date, time: str) -> dt.datetime:
    match = _TIME.fullmatch(time.strip())
    if match is None:
        raise ValueError(f"{time!r} is not a time of day")
    hour, minute = int(match["hour"]), int(match["minute"])
    seconds = Decimal((match["second"] or "0").replace(",", "."))
    if hour > 24 or minute > 59 or seconds >= 61:
        raise ValueError(f"{time!r} is not a time of day")
    microseconds = int((seconds * 1_000_000).to_integral_value())
    # Added up rather than set: 24:00:00, a leap second and 59.9999999 rounded up are all legal.
    midnight = dt.datetime(date.year, date.month, date.day, tzinfo=_zone(match["zone"]))
    moment = midnight + dt.timedelta(hours=hour, minutes=minute, microseconds=microseconds)
    return moment.astimezone(dt.UTC)


def _zone(text: str | None) -> dt.timezone:
    if text is None:
        return dt.UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = dt.timedelta(hours=hours, minutes=minutes)
    return dt.timezone(-offset if text[0] == "-" else offset)


def _fraction_passed(header: fits.Header, keyword: Keyword, dialect: Dialect) -> float:
    comment = header.comments[keyword.card]
    return next((mark.exposure_fraction for mark in dialect.date_marks if mark.comment.search(comment)), 0.0)


def _to_utc(moment: dt.datetime, time_scale: str | None) -> dt.datetime:
    scale = (time_scale or "").upper()
    if scale in _UTC_NAMES:
        return moment
    if scale not in _TIME_SCALES:
        raise BadHeader(f"TIMESYS is {time_scale}, not UTC", advice="let the capture program write UTC")
    utc = Time(moment.replace(tzinfo=None), scale=scale.lower()).utc
    converted: dt.datetime = utc.to_datetime(dt.UTC)
    return converted


def _julian_date(header: fits.Header, dialect: Dialect) -> dt.datetime | None:
    quantities = dialect.quantities
    days = number_of(header, quantities.mjd)
    if days is None and (julian := number_of(header, quantities.jd)) is not None:
        days = julian - _MJD_ZERO
    # A whole number is a day without its time, and zero a card that was never filled in.
    if days is None or days <= 0 or days == int(days):
        return None
    try:
        return _J2000 + dt.timedelta(days=days - (_J2000_JD - _MJD_ZERO))
    except OverflowError:
        return None
