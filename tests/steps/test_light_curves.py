"""The light curve of a star, out of the rows of the frames that show it."""

from __future__ import annotations

import numpy as np
import pytest

from observed_stars import DEC, EXPTIME, RA, START_JD, Series
from toros.errors import BadParameters, TooFewFrames, UnknownItem
from toros.models.database import Database
from toros.science.sources import SourceFlag
from toros.steps.light_curves import light_curve_of


def curve_of(database: Database, *place: float, **options):
    with database.read() as session:
        return light_curve_of(session, *(place or (RA, DEC)), **options)


def test_a_transit_of_2_percent_is_seen_through_clouds(database: Database) -> None:
    with database.write() as session:
        series = Series(session)
        for number in range(40):
            series.frame(dimmed=0.02 if 12 <= number < 28 else 0.0, cloud=0.1 * np.sin(number))
    found = curve_of(database)
    inside = (np.arange(40) >= 12) & (np.arange(40) < 28)
    flux = np.asarray(found.table["flux"])
    assert 1 - flux[inside].mean() / flux[~inside].mean() == pytest.approx(0.02, abs=0.002)
    assert found.curve.magnitude == pytest.approx(11.0, abs=0.1)
    assert (found.is_calibrated, found.filter) == (True, "V")
    assert found.table["jd"][0] == pytest.approx(START_JD + 2 / 1440 + EXPTIME / 2 / 86400, abs=1e-7)
    assert np.all(np.diff(found.table["jd"]) > 0)


def test_only_the_newest_measurement_of_a_frame_counts(database: Database) -> None:
    with database.write() as session:
        series = Series(session)
        frames = [series.frame(dimmed=0.5) for _ in range(5)]
        for frame in frames:
            series.measure(frame)
    found = curve_of(database)
    assert len(found.table) == 5
    assert found.table["mag"] == pytest.approx([11.0] * 5, abs=0.02)


def test_frames_of_several_filters_and_fields_are_not_mixed(database: Database) -> None:
    with database.write() as session:
        series = Series(session)
        for filter_name in ("V", "V", "R", None):
            series.frame(filter_name=filter_name, object_="A" if filter_name else "B")
    with pytest.raises(BadParameters, match=r"V \(2 frames\), R \(1 frames\), none \(1 frames\)"):
        curve_of(database)
    assert len(curve_of(database, filter_name="V").table) == 2
    assert len(curve_of(database, filter_name="none").table) == 1
    assert len(curve_of(database, field="B").table) == 1
    with pytest.raises(UnknownItem):
        curve_of(database, filter_name="I")


def test_without_zero_points_magnitudes_are_instrumental(database: Database) -> None:
    with database.write() as session:
        series = Series(session)
        for _ in range(3):
            series.frame(has_zero_point=False)
    found = curve_of(database)
    assert not found.is_calibrated
    assert found.curve.magnitude == pytest.approx(11.0 - 22.0, abs=0.02)


def test_aperture_fluxes_may_be_asked_for(database: Database) -> None:
    with database.write() as session:
        series = Series(session)
        for _ in range(6):
            series.frame()
    psf, aperture = curve_of(database), curve_of(database, aperture=True)
    assert aperture.curve.magnitude == pytest.approx(psf.curve.magnitude - 2.5 * np.log10(1.5), abs=1e-3)
    assert np.median(aperture.table["mag_err"]) > np.median(psf.table["mag_err"])


def test_a_flagged_measurement_is_shown_as_such(database: Database) -> None:
    with database.write() as session:
        series = Series(session)
        for flags in (0, SourceFlag.SATURATED, SourceFlag.BLENDED):
            series.frame(flags=int(flags))
    assert curve_of(database).table["flagged"].tolist() == [False, True, False]


def test_a_position_may_be_off_by_what_is_said(database: Database) -> None:
    with database.write() as session:
        series = Series(session)
        for _ in range(3):
            series.frame()
    with pytest.raises(TooFewFrames, match=r"the nearest is 8\.\d arcsec away"):
        curve_of(database, RA, DEC + 8 / 3600)
    assert curve_of(database, RA, DEC + 8 / 3600, radius=9.0).curve.dec == pytest.approx(DEC, abs=1 / 3600)
    with pytest.raises(UnknownItem):
        curve_of(database, 10.0, 10.0)
