"""Nights: frames in order, true headers, mishaps that are what they claim, files as a camera writes them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io

import erfa
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS

from toros.errors import BadParameters
from toros.sim import (
    Field,
    Incident,
    NightPlan,
    Supernova,
    Transient,
    feed,
    fields_of_the_night,
    schedule,
    simulate_night,
    write_night,
)

EVENING = dt.date(2026, 11, 20)
FIELD = Field("F0400-25", 60.0, -25.0, exposures=4, filters=("V", "R"))
PLAN = NightPlan(EVENING, bias=3, darks=((60.0, 2), (120.0, 1)), flats=2, fields=(FIELD,))


@pytest.fixture(scope="module")
def night(camera):
    return list(simulate_night(PLAN, camera, seed=7))


@pytest.fixture(scope="module")
def mishaps(camera):
    plan = dataclasses.replace(PLAN, bias=0, darks=(), flats=0, incidents=tuple(Incident))
    return list(simulate_night(plan, camera, seed=7))


def the(frames, incident):
    (frame,) = (frame for frame in frames if frame.incident is incident)
    return frame


def test_the_night_brings_what_was_planned(night):
    kinds = [frame.kind for frame in night]
    assert {kind: kinds.count(kind) for kind in kinds} == {"bias": 3, "dark": 3, "flat": 4, "light": 8}
    exptimes = [frame.header["EXPTIME"] for frame in night if frame.kind == "dark"]
    assert exptimes == [60.0, 60.0, 120.0]
    assert [frame.header["FILTER"] for frame in night if frame.kind == "flat"] == ["V", "V", "R", "R"]


def test_frames_arrive_in_the_order_of_their_exposures(night, camera):
    starts = Time([frame.header["DATE-OBS"] for frame in night])
    ends = starts + [frame.header["EXPTIME"] for frame in night] * u.s
    assert (starts[1:] - ends[:-1] >= (camera.readout_time - 1e-3) * u.s).all()


def test_all_frames_belong_to_the_observing_night(night):
    solar = Time([frame.header["DATE-OBS"] for frame in night]) + PLAN.longitude / 15 * u.hour
    noon = Time("2026-11-20T12:00:00")
    assert (solar >= noon).all()
    assert (solar < noon + 1 * u.day).all()
    lights = solar[[frame.kind == "light" for frame in night]]
    assert (lights > noon + 8 * u.hour - 1 * u.s).all()


def test_the_same_seed_gives_the_same_bytes(night, camera):
    again = simulate_night(PLAN, camera, seed=7)
    assert all(one.to_bytes() == other.to_bytes() for one, other in zip(night, again, strict=True))


def test_another_seed_sees_the_same_stars_through_other_noise(night, camera):
    others = list(simulate_night(PLAN, camera, seed=8))
    one, other = night[-1], others[-1]
    assert not np.array_equal(one.data, other.data)
    common = np.intersect1d(one.truth["name"], other.truth["name"])
    assert len(common) > 0.4 * len(one.truth)
    for column in ("ra", "dec", "mag"):
        first, second = (frame.truth[column][np.isin(frame.truth["name"], common)] for frame in (one, other))
        assert np.array_equal(first, second)


def test_the_next_night_sees_the_same_stars(night, camera):
    tomorrow = dataclasses.replace(PLAN, night=EVENING + dt.timedelta(days=1))
    later = list(simulate_night(tomorrow, camera, seed=7))[-1]
    assert len(np.intersect1d(night[-1].truth["name"], later.truth["name"])) > 0.4 * len(later.truth)
    assert later.header["DATE-OBS"] > night[-1].header["DATE-OBS"]


def test_the_file_is_the_frame(night):
    for frame in night:
        with fits.open(io.BytesIO(frame.to_bytes())) as hdus:
            hdus.verify("exception")
            assert hdus[0].data.dtype == np.uint16
            assert np.array_equal(hdus[0].data, frame.data)
            assert hdus[0].header == frame.header


def test_headers_say_what_maxim_says(night, camera):
    types = {"bias": "Bias Frame", "dark": "Dark Frame", "flat": "Flat Field", "light": "Light Frame"}
    for frame in night:
        header = frame.header
        assert header["IMAGETYP"] == types[frame.kind]
        assert header["INSTRUME"] == camera.instrument
        assert header["SWCREATE"].startswith("MaxIm DL")
        assert (header["XBINNING"], header["YBINNING"], header["XPIXSZ"]) == (1, 1, camera.pixel_size)
        assert 206.265 * header["XPIXSZ"] / header["FOCALLEN"] == pytest.approx(camera.pixel_scale, rel=1e-3)
        assert header["EXPOSURE"] == header["EXPTIME"]
        assert abs(header["CCD-TEMP"] - header["SET-TEMP"]) < 0.5
        assert Time(header["DATE-OBS"]).jd == pytest.approx(header["JD"], abs=1e-8)
        site = SkyCoord(header["SITELONG"], header["SITELAT"], unit="deg")
        assert site.ra.wrap_at("180d").deg == pytest.approx(PLAN.longitude, abs=1 / 3600)
        assert site.dec.deg == pytest.approx(PLAN.latitude, abs=1 / 3600)


def test_the_telescope_looks_near_to_where_it_was_sent(night, camera):
    errors = []
    for frame in night:
        if frame.kind == "light":
            sent = SkyCoord(frame.header["OBJCTRA"], frame.header["OBJCTDEC"], unit=("hourangle", "deg"))
            wcs = WCS(fits.Header(frame.truth.meta["wcs"]))
            looked = SkyCoord(*wcs.all_pix2world([[127.5, 127.5]], 0)[0], unit="deg")
            errors.append(sent.separation(looked).arcsec)
    assert max(errors) > 1
    assert max(errors) < 5 * PLAN.pointing_error + 2 * PLAN.dither
    # One pointing error for the visit of the field, small shifts between its exposures.
    assert np.ptp(errors) < 4 * PLAN.dither


def test_the_truth_carries_the_true_wcs(night):
    truth = night[-1].truth
    wcs = WCS(fits.Header(truth.meta["wcs"]))
    x, y = wcs.all_world2pix(truth["ra"], truth["dec"], 0)
    assert np.allclose(x, truth["x"], atol=1e-3)
    assert np.allclose(y, truth["y"], atol=1e-3)


def test_a_transient_appears_on_the_night_it_explodes(camera):
    peak = Time("2026-11-21T03:00:00").jd
    supernova = Transient("SN 2026abc", 60.0, -25.0, Supernova(16.0, peak_jd=peak, rise_days=2.0))
    for night, there in ((EVENING, True), (EVENING - dt.timedelta(days=5), False)):
        plan = dataclasses.replace(PLAN, night=night, bias=0, darks=(), flats=0, transients=(supernova,))
        frames = list(simulate_night(plan, camera))
        assert all(("SN 2026abc" in frame.truth["name"]) is there for frame in frames)


def test_a_truncated_file_ends_before_its_header_says(mishaps):
    content = the(mishaps, Incident.TRUNCATED).to_bytes()
    header = fits.Header.fromstring(content[:2880].decode("ascii"))
    assert len(content) < 2 * header["NAXIS1"] * header["NAXIS2"]


def test_a_picture_is_not_fits(mishaps):
    frame = the(mishaps, Incident.NOT_FITS)
    assert frame.name.endswith(".fit")
    assert frame.kind == "picture"
    with pytest.raises(OSError, match="SIMPLE"):
        fits.open(io.BytesIO(frame.to_bytes()))


def test_the_unknown_image_type_is_none_of_the_four(mishaps):
    image_type = the(mishaps, Incident.UNKNOWN_TYPE).header["IMAGETYP"].lower()
    assert not any(word in image_type for word in ("bias", "zero", "dark", "flat", "light", "object"))


def test_the_duplicate_is_an_earlier_frame_byte_for_byte(mishaps):
    copy = the(mishaps, Incident.DUPLICATE)
    earlier = mishaps[: mishaps.index(copy)]
    (original,) = (frame for frame in earlier if frame.to_bytes() == copy.to_bytes())
    assert original.name != copy.name


def test_the_frame_without_a_date_has_no_time_at_all(mishaps):
    header = the(mishaps, Incident.NO_DATE).header
    assert not {"DATE-OBS", "DATE", "TIME-OBS", "UT", "JD", "MJD-OBS"} & set(header)


def test_bad_guiding_elongates_the_stars(mishaps, camera):
    frame = the(mishaps, Incident.BAD_GUIDING)
    straight = next(frame for frame in mishaps if frame.incident is None)

    def elongation(frame):
        candidates = frame.truth[
            (frame.truth["kind"] == "star")
            & (np.abs(frame.truth["x"] - 128) < 110)
            & (np.abs(frame.truth["y"] - 128) < 110)
        ]
        star = candidates[np.argmin(candidates["mag"])]
        row, column = round(star["y"]), round(star["x"])
        stamp = frame.data[row - 8 : row + 9, column - 8 : column + 9].astype(float)
        stamp = np.clip(stamp - np.median(frame.data) - 0.2 * np.ptp(stamp), 0, None)
        y, x = np.mgrid[-8:9, -8:9]
        x, y = x - np.average(x, weights=stamp), y - np.average(y, weights=stamp)
        minor, major = np.linalg.eigvalsh(np.cov(np.stack([x.ravel(), y.ravel()]), aweights=stamp.ravel()))
        return np.sqrt(major / minor)

    assert elongation(frame) > 1.4 > 1.2 > elongation(straight)


def test_the_satellite_crosses_one_planned_frame(mishaps):
    crossed = [frame for frame in mishaps if "satellite" in frame.masks]
    assert [frame.incident for frame in crossed] == [Incident.SATELLITE]


def test_mishaps_leave_the_planned_number_of_good_files(mishaps):
    extra = {
        Incident.TRUNCATED,
        Incident.NOT_FITS,
        Incident.UNKNOWN_TYPE,
        Incident.DUPLICATE,
        Incident.NO_DATE,
    }
    assert sum(frame.incident not in extra for frame in mishaps) == FIELD.exposures * len(FIELD.filters)
    assert len({frame.name for frame in mishaps}) == len(mishaps)


@pytest.mark.parametrize("seed", range(30))
def test_every_seed_finds_a_frame_for_every_incident(camera, seed):
    plan = dataclasses.replace(
        PLAN, fields=(dataclasses.replace(FIELD, exposures=2),), incidents=tuple(Incident)
    )
    shots = schedule(plan, camera, seed)
    assert {shot.incident for shot in shots if shot.incident} == set(Incident)
    (copy,) = (shot for shot in shots if shot.incident is Incident.DUPLICATE)
    assert any(
        dataclasses.replace(shot, name=copy.name, incident=copy.incident) == copy
        for shot in shots
        if shot.incident is None
    )


def test_a_night_without_light_frames_has_nothing_to_truncate(camera):
    with pytest.raises(BadParameters, match="truncated"):
        schedule(NightPlan(EVENING, incidents=(Incident.TRUNCATED,)), camera)


def test_a_plan_longer_than_the_night_is_refused(camera):
    endless = dataclasses.replace(FIELD, exposures=1000)
    with pytest.raises(BadParameters, match="local noon"):
        schedule(dataclasses.replace(PLAN, fields=(endless,)), camera)


def test_a_filter_that_the_camera_has_not_is_refused(camera):
    with pytest.raises(BadParameters, match="'u'"):
        schedule(dataclasses.replace(PLAN, fields=(dataclasses.replace(FIELD, filters=("u",)),)), camera)


def test_the_fields_of_the_night_pass_near_the_zenith_around_midnight():
    fields = fields_of_the_night(EVENING, count=3)
    midnight = Time("2026-11-21T00:00:00") - (-67.328 / 15) * u.hour
    sidereal = np.degrees(erfa.gmst82(midnight.jd1, midnight.jd2)) - 67.328
    for field in fields:
        hour_angle = (sidereal - field.ra + 180) % 360 - 180
        assert abs(hour_angle) <= 30
        assert abs(field.dec - -24.623) <= 2.5
    assert fields == fields_of_the_night(EVENING + dt.timedelta(days=1), count=3)


def test_a_night_is_written_with_its_truth_apart(tmp_path, camera):
    plan = dataclasses.replace(
        PLAN, bias=1, darks=(), flats=0, incidents=(Incident.NOT_FITS, Incident.DUPLICATE)
    )
    frames = list(simulate_night(plan, camera, seed=7))
    journal = write_night(iter(frames), tmp_path / "incoming")
    assert sorted(path.name for path in (tmp_path / "incoming").iterdir()) == sorted(journal["file"])
    for frame in frames:
        assert (tmp_path / "incoming" / frame.name).read_bytes() == frame.to_bytes()
    truth = tmp_path / "incoming-truth"
    assert (Table.read(truth / "journal.ecsv").filled("") == journal).all()
    written = Table.read(truth / f"{frames[-1].name.removesuffix('.fit')}.ecsv")
    assert np.array_equal(written["x"], frames[-1].truth["x"])
    assert written.meta["wcs"]["CRVAL1"] == frames[-1].truth.meta["wcs"]["CRVAL1"]


def test_an_empty_night_has_an_empty_journal(tmp_path):
    assert len(write_night([], tmp_path / "incoming")) == 0


def test_a_watcher_sees_the_files_grow(tmp_path, night):
    sizes, waits = [], []
    frame = night[0]

    def sleep(seconds):
        waits.append(seconds)
        sizes.append((tmp_path / frame.name).stat().st_size)

    fed = list(feed([frame, night[1]], tmp_path, interval=10.0, pieces=4, sleep=sleep))
    assert fed == [frame, night[1]]
    whole = len(frame.to_bytes())
    assert sizes[:3] == sorted(sizes[:3])
    assert 0 < sizes[0] < sizes[2] < whole == sizes[3]
    assert waits[3] > sum(waits[:3])


def test_frames_are_taken_one_at_a_time_as_the_feeder_asks(tmp_path, camera):
    taken = []

    def watched():
        for frame in simulate_night(PLAN, camera):
            taken.append(frame.name)
            yield frame

    feeder = feed(watched(), tmp_path)
    first = next(feeder)
    assert taken == [first.name]
