"""A science frame is calibrated as ccdproc would, honest about its noise, and never uncalibrated in secret."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from numpy.typing import NDArray
from observing import (
    CALIBRATION,
    CAMERA,
    Telescope,
    attempt,
    calibrate_lights,
    caveats,
    ingest,
    item_named,
    make_masters,
    masters,
    plane,
    products,
    run_waiting,
)
from scipy.ndimage import binary_dilation
from sqlalchemy import select

from small_steps import check, last_run, state_of
from toros.models import Lineage, Pawprint, Product, QualityMeasure
from toros.science.calibrate import FLAT_FLOOR, variance_of
from toros.science.flags import PixelFlag, is_flagged
from toros.science.noise import sky_level, sky_noise
from toros.sim import Conditions, illuminate
from toros.steps.accept_master import RejectMaster
from toros.steps.clean import Clean
from toros.steps.preprocess import Preprocess
from toros.steps.runner import Runner
from toros.steps.send_back import SendBack

DARK_SKY = Conditions(sky_gradient=0.0, cosmic_ray_rate=0.0)


def _ready_for_preprocess(runner: Runner, name: str) -> Pawprint:
    """Load and clean a science frame."""
    ingest(runner)
    run_waiting(runner, Clean)
    frame = item_named(runner, name)
    assert isinstance(frame, Pawprint)
    return frame


def _calibrated(runner: Runner, name: str) -> Pawprint:
    """Load, clean and calibrate a science frame."""
    frame = _ready_for_preprocess(runner, name)
    assert attempt(runner, Preprocess(), frame.id) == "preprocessed_data"
    return frame


def _master(runner: Runner, imagetype: str) -> NDArray[np.float32]:
    return plane(runner, masters(runner, imagetype)[-1], "master", "DATA")


def _with_rules(runner: Runner, *changes: tuple[str, str]) -> Runner:
    """Return a runner whose calibration rules differ from the shipped ones."""
    text = (Path(__file__).parents[2] / "plugins/toros/steps/calibration_rules.toml").read_text()
    for shipped, own in changes:
        assert shipped in text
        text = text.replace(shipped, own)
    path = runner.settings.data_root.parent / "rules.toml"
    path.write_text(text)
    return replace(runner, settings=replace(runner.settings, rules=path))


# --------------------------------------------------------------------------------------------- the pixels


@pytest.mark.parametrize("exptime", [120.0, 45.0])
def test_a_frame_equals_that_of_ccdproc_step_by_step(
    prepared: Runner, on_sky: Telescope, exptime: float
) -> None:
    (name,) = on_sky.lights(exptime)
    frame = _calibrated(prepared, name)
    expected = ccdproc.subtract_bias(
        CCDData(on_sky.truth[name].data.astype(float), unit="adu"),
        CCDData(_master(prepared, "Bias"), unit="adu"),
    )
    expected = ccdproc.subtract_dark(
        expected,
        CCDData(_master(prepared, "Dark"), unit="adu"),
        dark_exposure=120 * u.s,
        data_exposure=exptime * u.s,
        scale=True,
    )
    expected = ccdproc.gain_correct(expected, CAMERA.gain * u.electron / u.adu)
    flat = _master(prepared, "Flat")
    expected = ccdproc.flat_correct(expected, CCDData(flat, unit=""), norm_value=1)
    usable = flat >= FLAT_FLOOR
    ours = plane(prepared, frame, "calibrated", "DATA")
    np.testing.assert_allclose(ours[usable], expected.data[usable], rtol=2e-6, atol=5e-3)
    assert caveats(prepared, frame, "calibrated") == (set() if exptime == 120 else {"dark_scaled"})


@pytest.mark.parametrize("exptime", [120.0, 60.0])
def test_the_noise_of_the_sky_is_the_one_that_can_be_computed_from_the_stored_frame(
    prepared: Runner, on_sky: Telescope, exptime: float
) -> None:
    (name,) = on_sky.lights(exptime, density=0, conditions=DARK_SKY)
    frame = _calibrated(prepared, name)
    data, mask = (plane(prepared, frame, "calibrated", part) for part in ("DATA", "MASK"))
    header = fits.getheader(prepared.store.path(products(prepared, frame, "calibrated")[0].path))
    variance = variance_of(
        data,
        dark_electrons=_master(prepared, "Dark") * header["DARKSCAL"] * header["GAIN_E"],
        flat=_master(prepared, "Flat"),
        read_noise=header["RDNOISE"],
    )
    true_flat = np.ones(CAMERA.shape, np.float32)
    illuminate(true_flat, on_sky.detector, CAMERA.bands[0])
    truth = on_sky.truth[name].truth
    assert truth is not None
    sky = truth.meta["sky"] * np.median(true_flat)
    good = mask == 0
    assert good.mean() > 0.98
    assert np.mean(data[good]) == pytest.approx(sky, rel=0.01)
    off = (data - sky)[good]
    assert np.sqrt(np.mean(off**2) / np.mean(variance[good])) == pytest.approx(1, abs=0.05)


def test_what_was_measured_is_on_record(prepared: Runner, on_sky: Telescope) -> None:
    (name,) = on_sky.lights(120)
    frame = _calibrated(prepared, name)
    data, mask = (plane(prepared, frame, "calibrated", part) for part in ("DATA", "MASK"))
    with prepared.database.read() as session:
        rows = session.scalars(
            select(QualityMeasure).where(QualityMeasure.steprun_id == last_run(prepared).id)
        )
        measured = {row.name: (row.value, row.unit) for row in rows}
    assert measured == {
        "sky_level": (pytest.approx(sky_level(data, mask)), "electron"),
        "sky_noise": (pytest.approx(sky_noise(data, mask)), "electron"),
        "masked_fraction": (pytest.approx(np.mean(mask != 0)), ""),
        "cosmic_ray_pixels": (np.count_nonzero(is_flagged(mask, PixelFlag.COSMIC_RAY)), ""),
    }


# ----------------------------------------------------------------------------------------------- the mask


def test_saturated_pixels_are_flagged_as_the_converter_gave_them(prepared: Runner, on_sky: Telescope) -> None:
    (name,) = on_sky.lights(120, density=0)
    data = on_sky.truth[name].data.copy()
    data[40:44, 60:64] = 65535
    data[10, 10] = 65534
    bright = on_sky.write("light", replace(on_sky.truth[name], data=data), 120.0)
    mask = plane(prepared, _calibrated(prepared, bright), "calibrated", "MASK")
    np.testing.assert_array_equal(is_flagged(mask, PixelFlag.SATURATED), data == 65535)


def test_cosmic_rays_are_found_where_they_hit(prepared: Runner, on_sky: Telescope) -> None:
    (name,) = on_sky.lights(120, conditions=Conditions(cosmic_ray_rate=2000.0))
    frame = _calibrated(prepared, name)
    data, mask = (plane(prepared, frame, "calibrated", part) for part in ("DATA", "MASK"))
    hit = on_sky.truth[name].masks["cosmic_rays"]
    found = is_flagged(mask, PixelFlag.COSMIC_RAY)
    others = np.uint8(0xFF) ^ np.uint8(PixelFlag.COSMIC_RAY)
    seen = (mask & others) == 0
    bright = hit & seen & (data > sky_level(data, mask) + 10 * sky_noise(data, mask))
    assert np.count_nonzero(bright) > 50
    assert found[bright].mean() > 0.97
    near_a_hit = binary_dilation(hit, np.ones((3, 3)))
    assert np.count_nonzero(found & ~near_a_hit) <= 2


def test_bad_pixels_of_all_masters_are_flagged_and_what_has_no_flat_is_no_data(
    prepared: Runner, on_sky: Telescope
) -> None:
    (name,) = on_sky.lights(120)
    frame = _calibrated(prepared, name)
    mask = plane(prepared, frame, "calibrated", "MASK")
    for kind in ("Bias", "Dark", "Flat"):
        flaws = plane(prepared, masters(prepared, kind)[0], "master", "MASK")
        assert flaws.any()
        np.testing.assert_array_equal(mask & flaws, flaws)
    np.testing.assert_array_equal(is_flagged(mask, PixelFlag.NO_DATA), _master(prepared, "Flat") < FLAT_FLOOR)
    assert np.isfinite(plane(prepared, frame, "calibrated", "DATA")).all()


def test_cosmic_rays_are_not_sought_on_a_colour_matrix_or_when_nobody_wants_it(
    prepared: Runner, on_sky: Telescope
) -> None:
    (plain,), (colour,) = on_sky.lights(120), on_sky.lights(120, BAYERPAT="RGGB")
    frame = _ready_for_preprocess(prepared, plain)
    assert attempt(prepared, Preprocess(cosmic_rays=False), frame.id) == "preprocessed_data"
    for name in (plain, colour):
        frame = _calibrated(prepared, name) if name == colour else frame
        assert caveats(prepared, frame, "calibrated") == {"cosmic_rays_not_sought"}
        mask = plane(prepared, frame, "calibrated", "MASK")
        assert not is_flagged(mask, PixelFlag.COSMIC_RAY).any()


# ------------------------------------------------------------------------------------- header and lineage


def test_the_product_reads_back_with_ccddata_and_says_what_was_done(
    prepared: Runner, on_sky: Telescope
) -> None:
    (name,) = on_sky.lights(45, OBSERVER="Ana")
    frame = _calibrated(prepared, name)
    (product,) = products(prepared, frame, "calibrated")
    read = CCDData.read(prepared.store.path(product.path))
    assert read.unit == u.electron
    assert read.mask.shape == read.shape == CAMERA.shape
    header = read.header
    assert (header["OBJECT"], header["OBSERVER"], header["EXPTIME"]) == ("M 31", "Ana", 45.0)
    assert (header["GAIN_E"], header["RDNOISE"]) == (CAMERA.gain, CAMERA.read_noise)
    assert header["DARKSCAL"] == pytest.approx(45 / 120)
    assert header["STEPRUN"] == product.steprun_id
    assert header["CAVEATS"].split(",") == product.caveats == ["dark_scaled"]
    paths = [
        products(prepared, masters(prepared, kind)[0], "master")[0].path for kind in ("Bias", "Dark", "Flat")
    ]
    told = "".join(header["HISTORY"])
    verbs = ("minus bias", "minus dark", "over flat")
    assert told == "".join(f"{verb} {path}" for verb, path in zip(verbs, paths, strict=True))
    assert product.path == f"2026-11-20/calibrated/{name.removesuffix('.fit')}_r{product.steprun_id:06d}.fits"


def test_the_raw_frame_and_its_masters_are_the_parents(prepared: Runner, on_sky: Telescope) -> None:
    (name,) = on_sky.lights(120)
    frame = _calibrated(prepared, name)
    raw, calibrated = products(prepared, frame, "raw")[0], products(prepared, frame, "calibrated")[0]
    with prepared.database.read() as session:
        made_of = set(session.scalars(select(Lineage.input_id).where(Lineage.output_id == calibrated.id)))
        chosen = set(session.scalars(select(Product.id).where(Product.kind == "master")))
    assert made_of == chosen | {raw.id}
    assert check(prepared).ok


# ----------------------------------------------------------------------------- never uncalibrated in secret


def _give_up(runner: Runner, kinds: Iterable[str]) -> None:
    """Let a person reject the masters of these kinds."""
    for kind in kinds:
        for master in masters(runner, kind):
            runner.run(RejectMaster(person="Ana"), master.id)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ((), set()),
        (("Flat",), {"no_flat"}),
        (("Dark",), {"no_dark"}),
        (("Dark", "Flat"), {"no_dark", "no_flat"}),
        (("Bias",), None),
        (("Bias", "Dark"), None),
        (("Bias", "Dark", "Flat"), None),
    ],
)
def test_what_is_missing_is_told_or_nothing_is_made(
    prepared: Runner, on_sky: Telescope, missing: tuple[str, ...], expected: set[str] | None
) -> None:
    """A dark that is free of the bias is of no use without one."""
    _give_up(prepared, missing)
    (name,) = on_sky.lights(120)
    frame = _ready_for_preprocess(prepared, name)
    first = attempt(prepared, Preprocess(), frame.id)
    if expected is not None:
        assert first == "preprocessed_data"
        assert caveats(prepared, frame, "calibrated") == expected
        return
    assert first == "waiting_for_master"
    assert state_of(prepared, frame.id) == "cleaned_data"
    prepared.clock.advance(minutes=61)  # type: ignore[attr-defined]
    assert attempt(prepared, Preprocess(), frame.id) == "no_calibration"
    assert state_of(prepared, frame.id) == "failed_to_preprocess"
    assert products(prepared, frame, "calibrated") == []
    assert check(prepared).ok


def test_the_rules_may_forbid_to_go_on_without_a_flat(prepared: Runner, on_sky: Telescope) -> None:
    strict = _with_rules(prepared, ('Flat = "go_on"', 'Flat = "fail"'))
    _give_up(prepared, ["Flat"])
    (name,) = on_sky.lights(120)
    frame = _ready_for_preprocess(strict, name)
    assert attempt(strict, Preprocess(), frame.id) == "no_calibration"
    assert "no flat fits" in (last_run(strict).error_message or "")


def test_the_rules_may_ask_to_wait_for_a_flat_and_then_go_on(prepared: Runner, on_sky: Telescope) -> None:
    patient = _with_rules(
        prepared, ('Flat = "go_on"', 'Flat = "wait"'), ("wait_minutes = 60.0", "wait_minutes = 5.0")
    )
    _give_up(prepared, ["Flat"])
    (name,) = on_sky.lights(120)
    frame = _ready_for_preprocess(patient, name)
    assert attempt(patient, Preprocess(), frame.id) == "waiting_for_master"
    prepared.clock.advance(minutes=6)  # type: ignore[attr-defined]
    assert attempt(patient, Preprocess(), frame.id) == "preprocessed_data"
    assert caveats(patient, frame, "calibrated") == {"no_flat"}


def test_a_frame_waits_as_a_skipped_run_and_is_as_it_was(observatory: Runner, telescope: Telescope) -> None:
    (name,) = telescope.lights(120)
    frame = _ready_for_preprocess(observatory, name)
    assert attempt(observatory, Preprocess(), frame.id) == "waiting_for_master"
    run = last_run(observatory)
    assert (run.status, run.error_code) == ("skipped", "waiting_for_master")
    assert "at most 60 min" in (run.error_message or "")
    assert state_of(observatory, frame.id) == "cleaned_data"


def test_a_frame_waits_for_masters_in_the_making_and_goes_on_when_they_are_made(
    observatory: Runner, telescope: Telescope
) -> None:
    telescope.bias(5)
    telescope.flats(5)
    (name,) = telescope.lights(120)
    frame = _ready_for_preprocess(observatory, name)
    assert attempt(observatory, Preprocess(), frame.id) == "waiting_for_master"
    assert make_masters(observatory)["master_accepted"] == 2
    assert attempt(observatory, Preprocess(), frame.id) == "preprocessed_data"
    assert caveats(observatory, frame, "calibrated") == {"no_dark"}


def test_a_frame_does_not_wait_for_what_it_has_already(prepared: Runner, on_sky: Telescope) -> None:
    on_sky.bias(2)
    (name,) = on_sky.lights(120)
    _calibrated(prepared, name)


def test_masters_of_last_night_do_not_keep_a_frame_from_waiting_for_those_of_its_own(
    prepared: Runner, on_sky: Telescope
) -> None:
    tonight = on_sky.next_night()
    tonight.bias(5)
    (name,) = tonight.lights(120)
    frame = _ready_for_preprocess(prepared, name)
    assert attempt(prepared, Preprocess(), frame.id) == "waiting_for_master"
    make_masters(prepared)
    assert attempt(prepared, Preprocess(), frame.id) == "preprocessed_data"
    assert caveats(prepared, frame, "calibrated") == {"other_night"}, "dark and flat are of last night"
    bias = products(prepared, masters(prepared, "Bias")[-1], "master")[0]
    with prepared.database.read() as session:
        product = products(prepared, frame, "calibrated")[0]
        parents = session.scalars(select(Lineage.input_id).where(Lineage.output_id == product.id))
        assert bias.id in set(parents)


def test_a_dark_of_the_right_time_in_the_making_is_better_than_one_to_scale(
    prepared: Runner, on_sky: Telescope
) -> None:
    on_sky.darks(60, 5)
    (name,) = on_sky.lights(60)
    frame = _ready_for_preprocess(prepared, name)
    assert attempt(prepared, Preprocess(), frame.id) == "waiting_for_master"
    make_masters(prepared)
    assert attempt(prepared, Preprocess(), frame.id) == "preprocessed_data"
    assert caveats(prepared, frame, "calibrated") == set()


def test_after_the_longest_wait_a_frame_takes_what_there_is(prepared: Runner, on_sky: Telescope) -> None:
    on_sky.darks(60, 5)
    (name,) = on_sky.lights(60)
    frame = _ready_for_preprocess(prepared, name)
    prepared.clock.advance(minutes=61)  # type: ignore[attr-defined]
    assert attempt(prepared, Preprocess(), frame.id) == "preprocessed_data"
    assert caveats(prepared, frame, "calibrated") == {"dark_scaled"}


def test_a_frame_that_failed_for_want_of_masters_is_made_when_it_is_sent_back(
    observatory: Runner, telescope: Telescope
) -> None:
    (name,) = telescope.lights(120)
    frame = _ready_for_preprocess(observatory, name)
    observatory.clock.advance(minutes=61)  # type: ignore[attr-defined]
    assert attempt(observatory, Preprocess(), frame.id) == "no_calibration"
    telescope.bias(5)
    make_masters(observatory)
    observatory.run(SendBack(from_state="failed_to_preprocess", person="Ana"), frame.id)
    assert attempt(observatory, Preprocess(), frame.id) == "preprocessed_data"
    assert check(observatory).ok


# ------------------------------------------------------------------------------------------- reprocessing


def test_a_frame_is_made_anew_beside_the_old_product(prepared: Runner, on_sky: Telescope) -> None:
    (name,) = on_sky.lights(60)
    frame = _calibrated(prepared, name)
    (old,) = products(prepared, frame, "calibrated")
    content = prepared.store.path(old.path).read_bytes()
    on_sky.darks(60, 5)
    make_masters(prepared)
    prepared.run(
        SendBack(
            from_state="preprocessed_data", to_state="cleaned_data", person="Ana", reason="a better dark"
        ),
        frame.id,
    )
    assert attempt(prepared, Preprocess(), frame.id) == "preprocessed_data"
    first, second = products(prepared, frame, "calibrated")
    assert (first.version, second.version) == (1, 2)
    assert (first.caveats, second.caveats) == (["dark_scaled"], [])
    assert prepared.store.path(first.path).read_bytes() == content, "nothing is overwritten"
    assert check(prepared).ok


def test_a_frame_that_is_calibrated_is_not_calibrated_again(prepared: Runner, on_sky: Telescope) -> None:
    (name,) = on_sky.lights(120)
    frame = _calibrated(prepared, name)
    outcome = prepared.run(Preprocess(), frame.id)
    assert outcome.again
    assert len(products(prepared, frame, "calibrated")) == 1


def test_one_frame_that_cannot_be_measured_does_not_stop_the_others(
    prepared: Runner, on_sky: Telescope
) -> None:
    (good,) = on_sky.lights(120)
    white = np.full(CAMERA.shape, 65535, np.uint16)
    on_sky.write("light", replace(on_sky.truth[good], data=white), 120.0)
    ends = calibrate_lights(prepared)
    assert (ends["preprocessed_data"], ends["not_finite"]) == (1, 1)
    assert check(prepared).ok


def test_the_masters_of_a_night_are_ready_for_its_lights(prepared: Runner) -> None:
    assert run_waiting(prepared, *CALIBRATION)["nothing_to_do"] == 1
    assert {master.night for kind in ("Bias", "Dark", "Flat") for master in masters(prepared, kind)} == {
        dt.date(2026, 11, 20)
    }
