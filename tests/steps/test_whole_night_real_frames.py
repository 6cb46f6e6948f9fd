"""Real nights of real cameras, through all steps."""

from __future__ import annotations

import datetime as dt
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from observing import (
    CALIBRATION,
    attempt,
    caveats,
    item_named,
    masters,
    observatory_in,
    plane,
    products,
    run_waiting,
)
from scipy.ndimage import binary_dilation, gaussian_filter, median_filter
from sqlalchemy import func, select

from small_steps import check
from toros.models import Arrival, CalFile, MasterCal, Model, Pawprint, Rejection
from toros.steps.clean import Clean
from toros.steps.discover import Discover
from toros.steps.load import Load
from toros.steps.preprocess import Preprocess
from toros.steps.runner import Runner
from toros.store import fits_file

LOOKED_AT = (
    "SN2022yid_10292022-0003_V_120s.fit",
    "SN2022yid_10292022-0004_V_120s.fit",
    "SN2022yid_10292022-0001_B_180s.fit.gz",
    "SN2022yid-10292022-B-120s.fit",
    "tres1-021.fit.gz",
    "tres1-129.fit.gz",
    "SA112-SF1-001R1.fit.gz",
    "SA112-SF1-001V1.fit.gz",
)
"""Science frames that are calibrated here; one is as good as its neighbours."""

ROWS_OF_A_FILE = {"arrival", "item", "rejection", "statechange", "steprun"}
"""Tables that a file which is registered already leaves a trace in."""


@pytest.fixture(scope="module")
def archive(
    real_frames: Path, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> tuple[Runner, dict[str, str]]:
    """All real frames loaded, their masters made, some lights calibrated; and what became of each file."""
    folder = tmp_path_factory.mktemp("archive")
    shutil.copyfile(sqlite_template, folder / "toros.db")
    runner = _watching(observatory_in(folder), real_frames)
    fates = _load_all(runner)
    later = replace(runner, clock=lambda: runner.clock() + dt.timedelta(minutes=5))
    run_waiting(later, *CALIBRATION)
    for name in LOOKED_AT:
        frame = item_named(runner, name)
        assert attempt(runner, Clean(), frame.id) == "cleaned_data"
        assert attempt(runner, Preprocess(), frame.id) == "preprocessed_data"
    return runner, fates


@pytest.fixture(scope="module")
def runner_of(archive: tuple[Runner, dict[str, str]]) -> Runner:
    return archive[0]


def _watching(runner: Runner, folder: Path) -> Runner:
    return replace(runner, settings=replace(runner.settings, inbox=(folder,)))


def _load_all(runner: Runner) -> dict[str, str]:
    """Discover and load; return what became of each file, by its path below the watched folder."""
    (inbox,) = runner.settings.inbox
    found = runner.run(Discover()).spawned
    with runner.database.read() as session:
        paths = {item: session.get_one(Arrival, item).path for item in found}
    return {str(Path(paths[item]).relative_to(inbox)): attempt(runner, Load(), item) for item in found}


def _light(runner: Runner, name: str) -> Pawprint:
    frame = item_named(runner, name)
    assert isinstance(frame, Pawprint)
    return frame


def _raw(runner: Runner, name: str) -> NDArray[np.float64]:
    (product,) = products(runner, _light(runner, name), "raw")
    return fits_file.read(runner.store.path(product.path)).astype(float)


def _count_rows(runner: Runner) -> dict[str, int]:
    with runner.database.read() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Model.metadata.sorted_tables
        }


# --------------------------------------------------------------------------------------------- all files


def test_every_file_is_registered_or_refused_with_a_reason(
    archive: tuple[Runner, dict[str, str]], real_frames: Path
) -> None:
    runner, fates = archive
    assert set(fates) == {
        str(path.relative_to(real_frames)) for path in real_frames.rglob("*") if path.is_file()
    }
    with runner.database.read() as session:
        states = Counter(a.state.name for a in session.scalars(select(Arrival)))
        refused = session.scalars(select(Rejection)).all()
    assert set(states) <= {"registered", "rejected", "duplicate"}
    assert states["rejected"] + states["duplicate"] == len(refused)
    assert all(rejection.reason and rejection.advice for rejection in refused)
    assert fates["README.md"] == "not_fits"
    for night in ("tres1", "sn2022yid", "sa112", "asi120", "seestar_ngc7023"):
        assert {fate for path, fate in fates.items() if path.startswith(night)} == {"registered"}


def test_database_and_files_tell_the_same_story(runner_of: Runner) -> None:
    report = check(runner_of)
    assert report.ok, report.violations


def test_a_second_copy_of_everything_brings_nothing_new(
    archive: tuple[Runner, dict[str, str]], real_frames: Path, tmp_path: Path
) -> None:
    runner, fates = archive
    (tmp_path / "copy").symlink_to(real_frames)
    before = _count_rows(runner)
    again = _load_all(_watching(runner, tmp_path / "copy"))
    assert again == {path: "duplicate" if fate == "registered" else fate for path, fate in fates.items()}
    after = _count_rows(runner)
    assert {table for table in after if after[table] != before[table]} == ROWS_OF_A_FILE
    assert after["item"] - before["item"] == len(fates), "arrivals only"


# ------------------------------------------------------------------------------------------------- SA 112


def test_the_frames_of_sa112_are_grouped_by_exposure_time_and_filter(runner_of: Runner) -> None:
    frame = _light(runner_of, "SA112-SF1-001R1.fit.gz")
    with runner_of.database.read() as session:
        ccd = session.get_one(Pawprint, frame.id).campaign.ccd_id
        made = session.scalars(select(MasterCal).where(MasterCal.ccd_id == ccd)).all()
        sets = {(m.imagetype, m.exptime, m.filter): len(m.combinations) for m in made}
    assert {master.state.name for master in made} == {"master_accepted"}
    darks = {("Dark", exptime, None): 6 for exptime in (5.0, 15.0, 30.0, 60.0, 120.0)}
    assert sets == darks | {("Bias", None, None): 10, ("Flat", None, "R"): 10, ("Flat", None, "V"): 10}


@pytest.mark.parametrize("band", ["R", "V"])
def test_a_light_of_sa112_is_calibrated_with_the_masters_of_its_own(runner_of: Runner, band: str) -> None:
    frame = _light(runner_of, f"SA112-SF1-001{band}1.fit.gz")
    assert caveats(runner_of, frame, "calibrated") == {
        "generic_camera",
        "gain_assumed",
        "read_noise_assumed",
        "saturation_assumed",
    }
    (path,) = [product.path for product in products(runner_of, frame, "calibrated")]
    history = "".join(fits_file.inspect(runner_of.store.path(path)).header["HISTORY"])
    assert f"filter_{band}" in history
    assert "exptime_30_" in history


# ---------------------------------------------------------------------------------------------- ASI120MC


def test_the_dark_current_of_an_uncooled_camera_rises_linearly_in_its_masters(runner_of: Runner) -> None:
    darks = [
        master
        for master in masters(runner_of, "Dark")
        if (master.naxis1, master.naxis2) == (1280, 960) and master.state.name == "master_accepted"
    ]
    seconds = np.array([master.exptime for master in darks], float)
    assert sorted(seconds) == [1, 10, 50, 100]
    adu = np.array([np.mean(plane(runner_of, master, "master", "DATA")) for master in darks])
    slope, offset = np.polyfit(seconds, adu, 1)
    assert slope > 5
    np.testing.assert_allclose(adu, offset + slope * seconds, atol=16)
    assert abs(offset) < 16, "the bias was taken away; 12 bits are stored as 16, in steps of 16"


def test_a_decimal_comma_is_understood(runner_of: Runner) -> None:
    bias = item_named(runner_of, "Bias_ASIImg_frame0001.fit.gz")
    assert isinstance(bias, CalFile)
    assert (bias.imagetype, bias.exptime) == ("Bias", 6.4e-05)


# ------------------------------------------------------------------------------------------------- TrES-1


@pytest.mark.parametrize("name", ["tres1-021.fit.gz", "tres1-129.fit.gz"])
def test_the_hot_pixels_of_tres1_are_gone_with_the_dark(runner_of: Runner, name: str) -> None:
    frame = _light(runner_of, name)
    assert caveats(runner_of, frame, "calibrated") == {"read_noise_assumed", "saturation_assumed", "no_flat"}
    (dark,) = (master for master in masters(runner_of, "Dark") if master.ccd_id == _ccd(runner_of, frame))
    current = plane(runner_of, dark, "master", "DATA").astype(float)
    current -= median_filter(current, 5)
    hot = (current > 300) & (current < 20_000)
    assert np.count_nonzero(hot) > 100
    before = _raw(runner_of, name)
    after = plane(runner_of, frame, "calibrated", "DATA") / frame.egain
    for picture, expected in ((before, 1.0), (after, 0.0)):
        sharp = picture - median_filter(picture, 5)
        slope = np.median(sharp[hot] / current[hot])
        assert slope == pytest.approx(expected, abs=0.1)


def _ccd(runner: Runner, frame: Pawprint) -> int:
    with runner.database.read() as session:
        return session.get_one(Pawprint, frame.id).campaign.ccd_id


# --------------------------------------------------------------------------------------------- SN 2022yid


def test_lights_without_a_dark_of_their_time_say_so(runner_of: Runner) -> None:
    stray = _light(runner_of, "SN2022yid-10292022-B-120s.fit")
    named = _light(runner_of, "SN2022yid_10292022-0001_B_180s.fit.gz")
    assert (stray.object_, named.object_) == (None, "Brutus_10292022")
    for frame in (stray, named):
        assert caveats(runner_of, frame, "calibrated") == {
            "dark_other_exposure",
            "few_frames",
            "read_noise_assumed",
            "saturation_assumed",
        }


@pytest.mark.parametrize(
    "name",
    [
        "SN2022yid_10292022-0003_V_120s.fit",
        "SN2022yid_10292022-0004_V_120s.fit",
        "SN2022yid_10292022-0001_B_180s.fit.gz",
    ],
)
def test_the_dust_rings_of_the_flat_are_gone_from_the_sky_of_the_light(runner_of: Runner, name: str) -> None:
    """The sky between the stars, at the scale of the rings, is regressed on the flat at the same scale.

    Flats hold some light that was scattered on the way: their rings are a little too shallow.
    """
    frame = _light(runner_of, name)
    (flat,) = (
        master
        for master in masters(runner_of, "Flat")
        if (master.ccd_id, master.filter) == (_ccd(runner_of, frame), frame.filter)
    )
    response = plane(runner_of, flat, "master", "DATA").astype(float)
    after = plane(runner_of, frame, "calibrated", "DATA").astype(float)
    before = after * response
    smooth = gaussian_filter(after, 2)
    noise = 1.48 * np.median(np.abs(smooth - np.median(smooth)))
    sky = ~binary_dilation(smooth > np.median(smooth) + 3 * noise, iterations=15)
    rings = _at_the_scale_of_rings(response, np.ones(sky.shape, bool))
    used = sky & (np.indices(sky.shape).min(axis=0) >= 40)
    used[-40:], used[:, -40:] = False, False
    slopes, chance = [], []
    for picture in (before, after):
        structure = _at_the_scale_of_rings(picture / np.median(picture[sky]), sky)
        slopes.append(_slope(rings, structure, used))
        elsewhere = [
            np.roll(rings, shift, (0, 1)) for shift in ((200, 0), (-200, 150), (150, 200), (0, -200))
        ]
        chance.append(np.std([_slope(other, structure, used) for other in elsewhere]))
    assert slopes[0] == pytest.approx(1.1, abs=0.2)
    assert slopes[0] > 8 * chance[0]
    assert abs(slopes[1]) < 0.15


def _at_the_scale_of_rings(picture: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what of a picture lies between 4 and 40 pixels, with what is not known left out."""

    def smoothed(scale: float) -> NDArray[np.float64]:
        weight = np.maximum(gaussian_filter(known.astype(float), scale), 1e-6)
        return np.asarray(gaussian_filter(np.where(known, picture, 0.0), scale) / weight)

    return smoothed(4) - smoothed(40)


def _slope(pattern: NDArray[Any], structure: NDArray[Any], used: NDArray[np.bool_]) -> float:
    return float(np.sum(pattern[used] * structure[used]) / np.sum(pattern[used] ** 2))
