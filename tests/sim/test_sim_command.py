"""The command `toros simulate`."""

from __future__ import annotations

import pytest
import typer
from astropy.io import fits
from astropy.table import Table
from typer.testing import CliRunner

from toros.cli.simulate import simulate
from toros.errors import BadParameters

SMALL = [
    "--size",
    "264",
    "--night",
    "2026-11-20",
    "--bias",
    "2",
    "--darks",
    "1",
    "--flats",
    "1",
    "--fields",
    "1",
]


@pytest.fixture
def run(tmp_path):
    app = typer.Typer()
    app.command()(simulate)

    def invoke(*options):
        return CliRunner().invoke(app, [str(tmp_path / "in"), *SMALL, *options], catch_exceptions=False)

    return invoke


@pytest.mark.parametrize("camera", ["azulcito", "sta1600"])
def test_it_writes_a_night_and_says_so(run, tmp_path, camera):
    result = run("--camera", camera, "--incident", "truncated")
    assert result.exit_code == 0
    journal = Table.read(tmp_path / "in-truth" / "journal.ecsv")
    assert {path.name for path in (tmp_path / "in").iterdir()} == set(journal["file"])
    assert list(journal["kind"]).count("bias") == 2
    assert "truncated" in result.output
    assert "2026-11-20" in result.output


def test_filters_and_exposures_are_those_asked_for(run, tmp_path):
    run("--filter", "B", "--filter", "V", "--exposures", "2", "--exptime", "30", "--dark-time", "30")
    journal = Table.read(tmp_path / "in-truth" / "journal.ecsv")
    lights = journal[journal["kind"] == "light"]
    assert list(lights["filter"]) == ["B", "B", "V", "V"]
    assert set(journal["exptime"][(journal["kind"] == "dark") | (journal["kind"] == "light")]) == {30.0}
    assert fits.getheader(tmp_path / "in" / lights["file"][0])["NAXIS1"] == 264


def test_the_truth_goes_where_it_is_told(run, tmp_path):
    run("--truth", str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "journal.ecsv").exists()


def test_it_writes_the_profile_of_the_camera(run, tmp_path):
    run("--camera", "sta1600", "--profile", str(tmp_path / "profiles"))
    assert [path.name for path in (tmp_path / "profiles" / "cameras").iterdir()] == [
        "simulated-sta1600-264x264.toml"
    ]


def test_a_size_that_the_mosaic_cannot_have_is_refused(run):
    with pytest.raises(BadParameters, match="use 264"):
        run("--camera", "sta1600", "--size", "500")


def test_an_unknown_incident_is_refused_with_those_known(run):
    with pytest.raises(BadParameters, match=r"meteorite.*truncated"):
        run("--incident", "meteorite")
