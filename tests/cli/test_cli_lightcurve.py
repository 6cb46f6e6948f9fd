"""``toros lightcurve``: a table, a plot, and what a program wants."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image
from the_command import Toros

from observed_stars import DEC, RA, Series
from toros.models.database import Database

STAR = ("--ra", RA, "--dec", DEC)


@pytest.fixture
def frames(database: Database) -> None:
    """Ten frames of a field."""
    with database.write() as session:
        series = Series(session)
        for number in range(10):
            series.frame(dimmed=0.05 if number > 6 else 0.0)


def test_a_light_curve_is_a_table(toros: Toros, frames: None) -> None:
    answer = toros("lightcurve", *STAR)
    assert answer.code == 0
    assert re.search(r"in 10 frames, 5\d comparison stars", answer.out)
    assert "light-010.fits" in answer.out


def test_a_program_gets_all_columns(toros: Toros, frames: None, tmp_path: Path) -> None:
    found = toros("lightcurve", *STAR, "--csv", tmp_path / "curve.csv", "--json").data
    assert found["magnitude"] == pytest.approx(11.0, abs=0.02)
    flux = [point["flux"] for point in found["points"]]
    assert np.mean(flux[7:]) / np.mean(flux[:7]) == pytest.approx(0.95, abs=0.005)
    table = Table.read(tmp_path / "curve.csv", format="ascii.csv")
    assert table["flux"].tolist() == pytest.approx(flux)
    assert set(table.colnames) == set(found["points"][0])


def test_the_plot_is_a_picture_with_points_in_it(toros: Toros, frames: None, tmp_path: Path) -> None:
    assert toros("lightcurve", *STAR, "--plot", tmp_path / "curve.png").code == 0
    with Image.open(tmp_path / "curve.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    blue = (pixels == (11, 95, 165)).all(axis=1)
    assert blue.sum() > 10 * 20


def test_a_position_may_be_sexagesimal(toros: Toros, frames: None) -> None:
    assert toros("lightcurve", "--ra", "19:04:09.6", "--dec", "+36:37:48", "--json").data["frames"] == 10


def test_what_is_not_there_is_said_with_advice(toros: Toros, frames: None, tmp_path: Path) -> None:
    answer = toros("lightcurve", "--ra", 10, "--dec", -10)
    assert (answer.code, "no measured frame shows" in answer.err) == (3, True)
    assert toros("lightcurve", *STAR, "--filter", "R").code == 3
    assert toros("lightcurve", *STAR, "--plot", tmp_path / "nowhere" / "curve.png").code == 4
