"""Masters are what ccdproc would make of the same frames, what the chip really is, and honest about their error."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std
from numpy.typing import NDArray
from observing import (
    CAMERA,
    Telescope,
    caveats,
    ccd,
    item_named,
    knowing,
    make_masters,
    masters,
    observatory_in,
    plane,
    products,
)
from sqlalchemy import select

from small_steps import check
from toros.models import Lineage, MasterCal, QualityMeasure, StepInput
from toros.science.flags import PixelFlag, is_flagged
from toros.sim import illuminate
from toros.steps.runner import Runner

Plane = NDArray[np.float32]


def _raw(telescope: Telescope, name: str) -> CCDData:
    return CCDData(telescope.truth[name].data.astype(np.float32), unit="adu")


def _ccdproc_combine(frames: list[CCDData]) -> Plane:
    """Combine as the pipeline should: the median of few frames, the clipped mean of many."""
    if len(frames) < 5:
        return np.asarray(ccdproc.combine(frames, method="median", dtype=np.float64).data)
    combined = ccdproc.combine(
        frames,
        method="average",
        sigma_clip=True,
        sigma_clip_low_thresh=4,
        sigma_clip_high_thresh=4,
        sigma_clip_func=np.ma.median,
        sigma_clip_dev_func=mad_std,
        dtype=np.float64,
    )
    return np.asarray(combined.data)


def _assert_alike(ours: Plane, theirs: NDArray[np.floating], rounding: float) -> None:
    """Assert that two masters agree within float32, but for values at the very edge of being clipped."""
    alike = np.abs(ours - theirs) <= rounding
    assert np.count_nonzero(~alike) <= 2


def _chi(master: CCDData, truth: NDArray[np.floating]) -> float:
    """Return the scatter about the truth over the stated error; a common offset is the drift of the level."""
    off = master.data - truth
    off -= np.median(off)
    good = master.mask == 0
    return float(np.sqrt(np.mean(off[good] ** 2) / np.mean(master.uncertainty.array[good] ** 2)))


@dataclass(frozen=True)
class CombinedNight:
    """What was exposed and what became of it."""

    runner: Runner
    telescope: Telescope
    bias: list[str]
    darks: list[str]
    flats: list[str]


@pytest.fixture(scope="module", params=[4, 9], ids=["few frames", "many frames"])
def combined(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> CombinedNight:
    """A night with so many frames of each kind, combined once for all that look at it."""
    count: int = request.param
    folder = tmp_path_factory.mktemp("combined")
    shutil.copyfile(sqlite_template, folder / "toros.db")
    observatory = knowing(observatory_in(folder), CAMERA)
    telescope = Telescope(CAMERA, folder / "inbox")
    night = CombinedNight(
        observatory, telescope, telescope.bias(count), telescope.darks(120, count), telescope.flats(count)
    )
    assert make_masters(observatory)["master_accepted"] == 3
    return night


def test_masters_equal_those_of_ccdproc_step_by_step(combined: CombinedNight) -> None:
    runner, telescope = combined.runner, combined.telescope
    (bias,), (dark,), (flat,) = (masters(runner, kind) for kind in ("Bias", "Dark", "Flat"))
    ours = {master.imagetype: plane(runner, master, "master", "DATA") for master in (bias, dark, flat)}
    raw = [_raw(telescope, name) for name in combined.bias]
    # Where most counts are equal their median deviation is zero, and ccdproc clips all the others.
    sure = mad_std([frame.data for frame in raw], axis=0) > 0
    _assert_alike(ours["Bias"][sure], _ccdproc_combine(raw)[sure], 3e-4)
    ours_bias = CCDData(ours["Bias"], unit="adu")
    freed = [ccdproc.subtract_bias(_raw(telescope, name), ours_bias) for name in combined.darks]
    _assert_alike(ours["Dark"], _ccdproc_combine(freed), 3e-4)
    ours_dark = CCDData(ours["Dark"], unit="adu")
    corrected = [
        ccdproc.subtract_dark(
            ccdproc.subtract_bias(_raw(telescope, name), ours_bias),
            ours_dark,
            dark_exposure=120 * u.s,
            data_exposure=5 * u.s,
            scale=True,
        )
        for name in combined.flats
    ]
    # Its own scaling comes after the clipping, which then takes the twilight for an outlier.
    alike = [frame.divide(np.median(frame.data)) for frame in corrected]
    _assert_alike(ours["Flat"], _ccdproc_combine(alike), 3e-6)


def test_the_stated_errors_are_the_scatter_about_the_true_chip(combined: CombinedNight) -> None:
    runner, chip = combined.runner, combined.telescope.detector
    (bias,), (dark,), (flat,) = (masters(runner, kind) for kind in ("Bias", "Dark", "Flat"))
    structure = chip.bias_columns[None, :] + chip.bias_rows[:, None]
    assert _chi(ccd(runner, bias, "master"), structure) == pytest.approx(1, abs=0.1)
    true_flat = np.ones(CAMERA.shape, np.float32)
    illuminate(true_flat, chip, CAMERA.bands[0])
    true_flat /= np.median(true_flat)
    assert _chi(ccd(runner, flat, "master"), true_flat) == pytest.approx(1, abs=0.1)
    freed = ccd(runner, dark, "master")
    # Its error is that of the darks; the noise of the master bias is common to all of them.
    bias_noise = plane(runner, bias, "master", "DATA") - CAMERA.bias_level - structure
    assert _chi(freed, chip.dark_electrons(120) / CAMERA.gain - bias_noise) == pytest.approx(1, abs=0.15)


def test_a_master_reads_back_with_ccddata(combined: CombinedNight) -> None:
    for kind, unit in (("Bias", u.adu), ("Dark", u.adu), ("Flat", u.dimensionless_unscaled)):
        (master,) = masters(combined.runner, kind)
        read = ccd(combined.runner, master, "master")
        assert read.unit == unit
        assert read.uncertainty.uncertainty_type == "std"
        assert read.uncertainty.unit == unit
        assert read.shape == read.uncertainty.array.shape == read.mask.shape == CAMERA.shape
        assert np.isfinite(read.uncertainty.array).all()


def test_the_header_of_a_master_says_what_it_is_made_of(combined: CombinedNight) -> None:
    runner, count = combined.runner, len(combined.darks)
    (dark,) = masters(runner, "Dark")
    header = fits.getheader(runner.store.path(products(runner, dark, "master")[0].path))
    assert (header["IMAGETYP"], header["NIGHT"]) == ("Master Dark", "2026-11-20")
    assert (header["NCOMBINE"], header["EXPTIME"]) == (count, 120.0)
    assert header["COMBINE"] == ("median" if count < 5 else "clipped_mean")
    assert header["SETKEY"] == f"{dark.set_key} v1"
    raws = [products(runner, item_named(runner, name), "raw")[0].path for name in combined.darks]
    assert "".join(header["HISTORY"]).replace("from ", " ").split() == raws


def test_what_a_master_is_made_of_is_on_record(combined: CombinedNight) -> None:
    runner = combined.runner
    product = {
        kind: products(runner, masters(runner, kind)[0], "master")[0] for kind in ("Bias", "Dark", "Flat")
    }
    raws = {
        kind: {products(runner, item_named(runner, name), "raw")[0].id for name in names}
        for kind, names in (("Bias", combined.bias), ("Dark", combined.darks), ("Flat", combined.flats))
    }
    expected = {
        "Bias": raws["Bias"],
        "Dark": raws["Dark"] | {product["Bias"].id},
        "Flat": raws["Flat"] | {product["Bias"].id, product["Dark"].id},
    }
    with runner.database.read() as session:
        for kind, parents in expected.items():
            made_of = select(Lineage.input_id).where(Lineage.output_id == product[kind].id)
            assert set(session.scalars(made_of)) == parents
            read = select(StepInput.product_id).where(StepInput.steprun_id == product[kind].steprun_id)
            assert set(session.scalars(read)) == parents
    report = check(runner)
    assert report.ok, report.violations


def test_few_frames_are_a_caveat_and_many_are_not(combined: CombinedNight) -> None:
    (bias,) = masters(combined.runner, "Bias")
    few = {"few_frames"} if len(combined.bias) < 5 else set()
    assert caveats(combined.runner, bias, "master") == {"first_master"} | few


# --------------------------------------------------------------------------------------------- bad pixels


def test_the_flaws_of_the_chip_are_found_and_little_else(runner: Runner) -> None:
    camera = replace(CAMERA, shape=(160, 192), hot_fraction=0.01, noisy_fraction=0.01, dead_fraction=0.003)
    observatory = knowing(runner, camera)
    telescope = Telescope(camera, runner.settings.inbox[0])
    telescope.bias(15)
    telescope.darks(120, 7)
    telescope.flats(5)
    make_masters(observatory)
    truth = telescope.detector.bad_pixels()
    found = {
        kind: plane(observatory, masters(observatory, kind)[0], "master", "MASK")
        for kind in ("Bias", "Dark", "Flat")
    }
    good = ~(truth["hot"] | truth["dead"] | truth["noisy"])
    for kind, flaw, flag, recall in (
        ("Dark", "hot", PixelFlag.HOT, 0.99),
        ("Flat", "dead", PixelFlag.DEAD, 0.99),
        ("Bias", "noisy", PixelFlag.NOISY, 0.97),
    ):
        flagged = is_flagged(found[kind], flag)
        assert flagged[truth[flaw]].mean() >= recall, f"{flaw} pixels"
        assert flagged[good].mean() <= 2e-4, f"good pixels that are called {flaw}"


# --------------------------------------------------------------------------------- the last good master


def _compared(runner: Runner, master: MasterCal) -> dict[str, float]:
    with runner.database.read() as session:
        rows = session.scalars(select(QualityMeasure).where(QualityMeasure.item_id == master.id))
        return {row.name: row.value for row in rows}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_masters_that_differ_by_noise_only_are_accepted(
    observatory: Runner, telescope: Telescope, count: int
) -> None:
    for night in (telescope, telescope.next_night()):
        night.bias(count)
        night.flats(count)
    assert make_masters(observatory)["master_accepted"] == 4
    for kind in ("Bias", "Flat"):
        _, second = masters(observatory, kind)
        assert _compared(observatory, second)["deviating_fraction"] < 0.01
        assert "first_master" not in caveats(observatory, second, "master")
        assert "level_changed" not in caveats(observatory, second, "master")


def test_a_dark_with_a_light_leak_is_rejected(observatory: Runner, telescope: Telescope) -> None:
    telescope.bias(5)
    telescope.darks(120, 5)
    leaking = telescope.next_night()
    leaking.bias(5)
    glow = np.tile(np.linspace(0, 8, CAMERA.shape[1], dtype=np.float32), CAMERA.shape[0])
    leaking.detector = replace(leaking.detector, hot=np.arange(glow.size), hot_rates=glow)
    leaking.darks(120, 5)
    ends = make_masters(observatory)
    assert ends["master_rejected"] == 1
    first, second = masters(observatory, "Dark")
    assert (first.state.name, second.state.name) == ("master_accepted", "master_rejected")
    assert _compared(observatory, second)["deviating_fraction"] > 0.3
    assert check(observatory).ok


def test_a_bias_whose_columns_have_shifted_is_rejected(runner: Runner) -> None:
    camera = replace(CAMERA, column_pattern=30.0)
    observatory = knowing(runner, camera)
    telescope = Telescope(camera, runner.settings.inbox[0])
    telescope.bias(5)
    shifted = telescope.next_night()
    shifted.detector = replace(shifted.detector, bias_columns=np.roll(shifted.detector.bias_columns, 1))
    shifted.bias(5)
    assert make_masters(observatory)["master_rejected"] == 1


def test_a_level_that_moved_as_a_whole_is_accepted_with_a_caveat(runner: Runner) -> None:
    observatory = knowing(runner, CAMERA)
    telescope = Telescope(CAMERA, runner.settings.inbox[0])
    telescope.bias(5)
    moved = replace(telescope.next_night(), camera=replace(CAMERA, bias_level=1150.0))
    moved.bias(5)
    make_masters(observatory)
    _, second = masters(observatory, "Bias")
    assert second.state.name == "master_accepted"
    assert "level_changed" in caveats(observatory, second, "master")
    assert _compared(observatory, second)["level_shift"] == pytest.approx(150, abs=5)


def test_a_rejected_master_is_no_measure_for_the_next_one(runner: Runner) -> None:
    camera = replace(CAMERA, column_pattern=30.0)
    observatory = knowing(runner, camera)
    first = Telescope(camera, runner.settings.inbox[0])
    first.bias(5)
    second = first.next_night()
    second.detector = replace(second.detector, bias_columns=np.roll(second.detector.bias_columns, 1))
    second.bias(5)
    second.next_night().bias(5)
    make_masters(observatory)
    states = [master.state.name for master in masters(observatory, "Bias")]
    assert states == ["master_accepted", "master_rejected", "master_accepted"]


# ------------------------------------------------------------------------------------- what is corrected first


def test_without_a_bias_a_dark_keeps_it_and_says_so(observatory: Runner, telescope: Telescope) -> None:
    telescope.darks(120, 5)
    telescope.flats(5, exptime=120.0)
    make_masters(observatory)
    (dark,), (flat,) = masters(observatory, "Dark"), masters(observatory, "Flat")
    assert dark.has_bias
    assert caveats(observatory, dark, "master") == {"first_master", "dark_with_bias"}
    assert np.median(plane(observatory, dark, "master", "DATA")) > CAMERA.bias_level
    assert caveats(observatory, flat, "master") == {"first_master"}, "the dark took the bias away"


def test_flats_without_bias_and_dark_are_a_caveat(observatory: Runner, telescope: Telescope) -> None:
    telescope.flats(5)
    make_masters(observatory)
    (flat,) = masters(observatory, "Flat")
    assert caveats(observatory, flat, "master") == {"first_master", "flat_without_bias"}


def test_every_flat_is_freed_from_the_dark_of_its_own_exposure_time(runner: Runner) -> None:
    """Twilight flats get longer as the sky gets darker, and the chip glows on."""
    camera = replace(CAMERA, dark_current=60.0, hot_fraction=0.0, set_temperature=5.0)
    observatory = knowing(runner, camera)
    telescope = Telescope(camera, runner.settings.inbox[0])
    telescope.bias(5)
    telescope.darks(30, 5)
    for exptime in (1.0, 30.0, 60.0):
        telescope.flats(2, exptime=exptime, level=12_000)
    make_masters(observatory)
    true_flat = np.ones(camera.shape, np.float32)
    illuminate(true_flat, telescope.detector, camera.bands[0])
    true_flat /= np.median(true_flat)
    (flat,) = masters(observatory, "Flat")
    read = ccd(observatory, flat, "master")
    corner = np.s_[:16, :16]
    slip = np.median((read.data / true_flat)[corner]) / np.median(read.data / true_flat) - 1
    assert abs(slip) < 0.002, "vignetting is not diluted by dark current"


# ------------------------------------------------------------------------------------------ packed frames


def test_packed_frames_give_the_same_master(observatory: Runner) -> None:
    telescope = Telescope(CAMERA, observatory.settings.inbox[0], suffix=".fit.gz")
    names = telescope.bias(4)
    make_masters(observatory)
    (bias,) = masters(observatory, "Bias")
    expected = np.median([telescope.truth[name].data for name in names], axis=0)
    np.testing.assert_array_equal(plane(observatory, bias, "master", "DATA"), expected)
    assert check(observatory).ok
