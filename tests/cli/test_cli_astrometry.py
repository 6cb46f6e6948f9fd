"""``toros review`` and ``toros solve``: a frame that was told the wrong field, and the person who knows better."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from astropy.coordinates import Angle
from astropy.io import fits
from the_command import Toros, items_in, toros_command

NIGHT = "2026-11-20"
SIMULATED = (
    *("--size", 128, "--night", NIGHT, "--density", 40, "--exptime", 30, "--dark-time", 30),
    *("--bias", 3, "--darks", 3, "--flats", 3, "--fields", 2, "--exposures", 1),
)  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night of two fields up to the review list: the header of one frame names the other one's field."""
    folder = tmp_path_factory.mktemp("lost")
    with pytest.MonkeyPatch.context() as patch:
        _settle_in(folder, patch)
        assert toros_command("migrate").code == 0
        stars = folder / "sky.fits"
        options = ("--catalogue", stars, "--profile", folder / "profiles")
        assert toros_command("simulate", folder / "inbox", *SIMULATED, *options).code == 0
        assert toros_command("catalogue", "add", stars, "--epoch", 2000).code == 0
        lost, other = sorted((folder / "inbox").glob("F*.fit"))
        there = fits.getheader(other)
        for card in ("OBJCTRA", "OBJCTDEC"):
            fits.setval(lost, card, value=there[card])
        assert toros_command("load").code == 0
        for step in (("--group", "calibration"), ("clean",), ("preprocess",)):
            assert toros_command("run", *step).code == 0
        assert toros_command("run", "solve").code == 1
        assert toros_command("run", "retry_solve").code == 1
        assert toros_command("run", "review").code == 0
    return folder


@pytest.fixture
def toros_lost(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toros:
    """The command, on a copy of that night."""
    shutil.copytree(night, tmp_path / "night")
    _settle_in(tmp_path / "night", monkeypatch)
    monkeypatch.setenv("TOROS_INBOX", str(night / "inbox"))
    return toros_command


def _settle_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    rules = (Path(__file__).parents[2] / "plugins/toros/steps/calibration_rules.toml").read_text()
    (folder / "rules.toml").write_text(rules.replace("quiet_seconds = 30", "quiet_seconds = 0"))
    for name, value in (
        ("DATA_ROOT", folder / "data"),
        ("INBOX", folder / "inbox"),
        ("RULES", folder / "rules.toml"),
        ("PROFILES_DIR", folder / "profiles"),
        ("SETTLE_SECONDS", 0),
        ("PATIENCE_SECONDS", 0),
    ):
        patch.setenv(f"TOROS_{name}", str(value))


def _position(path: Path) -> tuple[float, float]:
    """Return what the name of a field says: hours and degrees."""
    hours, dec = path.name[1:3], path.name[5:8]
    return 15.0 * int(hours), float(dec)


def _lost_frame(toros: Toros) -> dict[str, object]:
    (row,) = toros("review", "--json").data
    return row


def test_the_list_names_the_frame_where_it_was_believed_to_be_and_the_reason(
    toros_lost: Toros, night: Path
) -> None:
    lost, other = sorted((night / "inbox").glob("F*.fit"))
    row = _lost_frame(toros_lost)
    header = fits.getheader(other)
    ra, dec = Angle(header["OBJCTRA"], "hourangle").deg, Angle(header["OBJCTDEC"], "deg").deg
    assert (row["name"], row["object"], row["night"]) == (lost.name, lost.name[:8], NIGHT)
    assert row["pointing"] == f"{ra:.4f} {dec:+.4f}"
    assert row["reason"]
    printed = toros_lost("review").out
    assert lost.name in printed
    assert other.name not in printed


def test_a_person_says_where_the_frame_points_and_it_is_solved(toros_lost: Toros, night: Path) -> None:
    lost, _ = sorted((night / "inbox").glob("F*.fit"))
    ra, dec = _position(lost)
    item = _lost_frame(toros_lost)["item"]
    answer = toros_lost("solve", item, "--ra", ra, "--dec", dec, "--json")
    assert answer.code == 0
    assert [(one["item"], one["state"]) for one in answer.data] == [(item, "wcs_solved")]
    assert toros_lost("review", "--json").data == []
    assert "no frame waits" in toros_lost("review").out
    assert toros_lost("run", "measure").code == 0
    assert items_in(toros_lost, "measured", "Pawprint") == 2
    assert toros_lost("fsck").code == 0


def test_a_person_may_be_wrong_and_try_again(toros_lost: Toros, night: Path) -> None:
    _, other = sorted((night / "inbox").glob("F*.fit"))
    ra, dec = _position(other)
    before = _lost_frame(toros_lost)
    answer = toros_lost("solve", before["item"], "--ra", ra, "--dec", dec, "--scale", 0.457)
    assert answer.code == 1
    assert "no_plate_solution" in answer.out
    assert _lost_frame(toros_lost)["item"] == before["item"]
    assert toros_lost("solve", before["item"], "--ra", 400, "--dec", dec).code == 3
