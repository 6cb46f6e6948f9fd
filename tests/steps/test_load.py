"""The only way in: every file is registered exactly once, by content, or refused with a reason and advice."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from observing import CAMERA, Telescope, attempt, fits_bytes, ingest, item_named, products, put
from sqlalchemy import func, select

from small_steps import check, last_run, state_of
from toros.errors import FileMissing, Misconfigured
from toros.models import CCD, Arrival, CalFile, Campaign, Item, Observatory, Pawprint, Product, Rejection
from toros.steps.discover import Discover
from toros.steps.load import Inputs, Load, Registered, split_name
from toros.steps.runner import Runner
from toros.steps.step import Work

SKY = np.arange(96 * 128, dtype=np.uint16).reshape(96, 128)
CARDS: dict[str, Any] = {
    "DATE-OBS": "2026-11-21T03:30:15",
    "EXPTIME": 120.0,
    "IMAGETYP": "Light Frame",
    "FILTER": "V",
    "INSTRUME": CAMERA.instrument,
}
FRAME = fits_bytes(SKY, **CARDS)


@pytest.fixture
def inbox(observatory: Runner) -> Path:
    return observatory.settings.inbox[0]


def _rejections(runner: Runner) -> dict[str, Rejection]:
    with runner.database.read() as session:
        rows = session.execute(select(Arrival, Rejection).join(Arrival.rejection))
        return {Path(arrival.path).name: rejection for arrival, rejection in rows}


def _count(runner: Runner, model: type[Any]) -> int:
    with runner.database.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


# ------------------------------------------------------------------------------------ what is registered


def test_every_column_of_a_science_frame_is_what_its_header_says(observatory: Runner, inbox: Path) -> None:
    cards = CARDS | {
        "SET-TEMP": -20.0,
        "CCD-TEMP": -19.8,
        "XBINNING": 1,
        "YBINNING": 1,
        "XPIXSZ": 9.0,
        "YPIXSZ": 9.0,
        "READOUTM": "Fast",
        "GAIN": 120,
        "OFFSET": 30,
        "EGAIN": 0.78,
        "OBJECT": "NGC 253",
        "OBSERVER": "Ana",
        "OBJCTRA": "00 47 33.1",
        "OBJCTDEC": "-25 17 18",
        "SWCREATE": "MaxIm DL Version 5.24",
    }
    put(inbox / "ngc253.fit", fits_bytes(SKY, **cards))
    assert ingest(observatory) == {"ngc253.fit": "registered"}
    frame = item_named(observatory, "ngc253.fit")
    assert isinstance(frame, Pawprint)
    assert frame.observation_date == dt.datetime(2026, 11, 21, 3, 30, 15, tzinfo=dt.UTC)
    assert frame.jd == pytest.approx(2461365.6460069, abs=1e-6)
    assert frame.night == dt.date(2026, 11, 20)
    assert (frame.exptime, frame.imagetype, frame.filter) == (120.0, "Science", "V")
    assert (frame.object_, frame.observer, frame.dialect) == ("NGC 253", "Ana", "maximdl")
    assert (frame.simple, frame.bitpix, frame.naxis, frame.naxis1, frame.naxis2) == ("T", 16, 2, 128, 96)
    assert (frame.bscale, frame.bzero) == (1.0, 32768.0)
    assert (frame.xbinning, frame.ybinning, frame.xpixsz, frame.ypixsz) == (1, 1, 9.0, 9.0)
    assert (frame.ccdtemp, frame.set_temp, frame.readoutm) == (-19.8, -20.0, "Fast")
    assert (frame.gain_setting, frame.offset_setting, frame.egain) == (120.0, 30.0, 0.78)
    assert (frame.ra, frame.dec) == pytest.approx((11.8879, -25.2883), abs=1e-4)
    assert frame.bayer is None
    assert frame.state.name == "raw_data"


@pytest.mark.parametrize(("kind", "imagetype"), [("bias", "Bias"), ("dark", "Dark"), ("flat", "Flat")])
def test_calibration_frames_get_a_table_of_their_own(
    observatory: Runner, telescope: Telescope, kind: str, imagetype: str
) -> None:
    taken = {"bias": telescope.bias(1), "dark": telescope.darks(60, 1), "flat": telescope.flats(1)}[kind]
    ingest(observatory)
    frame = item_named(observatory, taken[0])
    assert isinstance(frame, CalFile)
    assert (frame.imagetype, frame.state.name) == (imagetype, "raw_data")
    assert frame.filter == ("Clear" if kind == "flat" else None), "behind a shutter no filter matters"


def test_the_file_of_the_camera_is_untouched_and_the_product_is_its_read_only_copy(
    observatory: Runner, inbox: Path
) -> None:
    path = put(inbox / "M31.fit", FRAME)
    path.chmod(0o640)
    before = path.stat()
    ingest(observatory)
    after = path.stat()
    assert path.read_bytes() == FRAME
    assert (before.st_mtime_ns, before.st_mode, before.st_ino) == (
        after.st_mtime_ns,
        after.st_mode,
        after.st_ino,
    )
    frame = item_named(observatory, "M31.fit")
    (raw,) = products(observatory, frame, "raw")
    copy = observatory.store.path(raw.path)
    assert copy.read_bytes() == FRAME
    assert raw.checksum == frame.checksum == hashlib.sha256(FRAME).hexdigest()
    assert raw.size == len(FRAME)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o444
    assert raw.path == f"2026-11-20/raw/M31_r{raw.steprun_id:06d}.fit"
    assert check(observatory).ok


def test_a_packed_frame_is_kept_packed(observatory: Runner, inbox: Path) -> None:
    path = put(inbox / "M31.fit.gz", FRAME)
    assert ingest(observatory) == {"M31.fit.gz": "registered"}
    (raw,) = products(observatory, item_named(observatory, "M31.fit.gz"), "raw")
    assert raw.path.endswith(".fit.gz")
    assert observatory.store.path(raw.path).read_bytes() == path.read_bytes()


def test_a_raw_file_may_be_linked_instead_of_copied(observatory: Runner, inbox: Path) -> None:
    linking = replace(observatory, settings=replace(observatory.settings, raw_files="link"))
    path = put(inbox / "M31.fit", FRAME)
    path.chmod(0o640)
    assert ingest(linking) == {"M31.fit": "registered"}
    (raw,) = products(linking, item_named(linking, "M31.fit"), "raw")
    assert linking.store.path(raw.path).samefile(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640, "it belongs to the camera's folder too"
    assert check(linking).ok


def test_a_link_to_a_link_is_a_link_to_the_file(observatory: Runner, inbox: Path, tmp_path: Path) -> None:
    linking = replace(observatory, settings=replace(observatory.settings, raw_files="link"))
    elsewhere = put(tmp_path / "camera" / "M31.fit", FRAME)
    (inbox / "M31.fit").symlink_to(elsewhere)
    ingest(linking)
    (raw,) = products(linking, item_named(linking, "M31.fit"), "raw")
    assert not linking.store.path(raw.path).is_symlink()
    assert linking.store.path(raw.path).samefile(elsewhere)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second file system")
def test_what_cannot_be_linked_asks_for_a_person(observatory: Runner, inbox: Path, tmp_path: Path) -> None:
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the temporary folder is in /dev/shm, too")
    elsewhere = put(Path("/dev/shm") / tmp_path.name / "M31.fit", FRAME)
    try:
        (inbox / "M31.fit").symlink_to(elsewhere)
        linking = replace(observatory, settings=replace(observatory.settings, raw_files="link"))
        (item,) = linking.run(Discover()).spawned
        with pytest.raises(Misconfigured, match="copy"):
            linking.run(Load(), item)
        assert state_of(linking, item) == "arrived"
        assert attempt(observatory, Load(), item) == "registered"
    finally:
        elsewhere.unlink()
        elsewhere.parent.rmdir()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("M31_001.fit", ("M31_001", ".fit")),
        ("M31_001.fit.gz", ("M31_001", ".fit.gz")),
        ("SN2022yid.V.fits", ("SN2022yid.V", ".fits")),
        ("m31.FITS.fz", ("m31", ".FITS.fz")),
        ("frame.Z", ("frame", ".Z")),
        ("frame", ("frame", "")),
        ("a.b.fit.bz2", ("a.b", ".fit.bz2")),
    ],
)
def test_a_name_is_split_before_its_suffixes(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


# ------------------------------------------------------------------------------------------ what is refused


def _without(*names: str, **others: Any) -> bytes:
    return fits_bytes(SKY, **{name: value for name, value in CARDS.items() if name not in names} | others)


REFUSED = {
    "truncated": FRAME[: len(FRAME) // 2],
    "not_fits": b"the sea, the sea",
    "no_image": fits_bytes(None, **CARDS),
    "bad_header": _without(EXPTIME="long"),
    "no_date": _without("DATE-OBS"),
    "unknown_camera": _without("INSTRUME"),
    "unknown_image_type": _without(IMAGETYP="Focus Frame"),
    "wrong_geometry": _without(XORGSUBF=16, YORGSUBF=16),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_file_has_a_row_that_says_why_and_what_to_do(
    observatory: Runner, inbox: Path, code: str
) -> None:
    put(inbox / "M31.fit", REFUSED[code])
    assert ingest(observatory) == {"M31.fit": code}
    rejection = _rejections(observatory)["M31.fit"]
    assert rejection.code == code
    assert rejection.reason
    assert rejection.advice
    assert rejection.steprun_id == last_run(observatory).id
    assert state_of(observatory, rejection.arrival_id) == "rejected"
    assert _count(observatory, Product) == 0
    assert (inbox / "M31.fit").read_bytes() == REFUSED[code]
    assert check(observatory).ok


def test_a_damaged_packed_file_is_refused_as_truncated(observatory: Runner, inbox: Path) -> None:
    packed = gzip.compress(FRAME)
    path = put(inbox / "M31.fit", packed[: len(packed) // 2])
    path.rename(path.with_suffix(".fit.gz"))
    assert ingest(observatory) == {"M31.fit.gz": "truncated"}


def test_one_bad_file_never_stops_the_others(observatory: Runner, telescope: Telescope, inbox: Path) -> None:
    for code, content in REFUSED.items():
        put(inbox / f"{code}.fit", content)
    good = [*telescope.bias(1), *telescope.lights(60)]
    fates = ingest(observatory)
    assert fates == dict.fromkeys(good, "registered") | {f"{code}.fit": code for code in REFUSED}
    assert {rejection.code for rejection in _rejections(observatory).values()} == set(REFUSED)
    assert check(observatory).ok


def test_the_same_content_under_another_name_is_a_duplicate(observatory: Runner, inbox: Path) -> None:
    put(inbox / "M31.fit", FRAME)
    ingest(observatory)
    put(inbox / "copy of M31.fit", FRAME)
    assert ingest(observatory) == {"copy of M31.fit": "duplicate"}
    rejection = _rejections(observatory)["copy of M31.fit"]
    frame = item_named(observatory, "M31.fit")
    assert (rejection.code, rejection.advice) == ("duplicate", "nothing to do")
    assert str(frame.id) in rejection.reason
    with observatory.database.read() as session:
        assert session.get_one(Arrival, rejection.arrival_id).exposure_id == frame.id
    assert _count(observatory, Pawprint) == _count(observatory, Product) == 1
    assert check(observatory).ok


class Overtaken(Load):
    """Loads another arrival when it has just convinced itself that its content is new."""

    def __init__(self, runner: Runner, other: int) -> None:
        super().__init__()
        self.runner, self.other, self.fates = runner, other, list[str]()

    def transform(self, inputs: Inputs) -> Registered:
        assert inputs.duplicate_of is None or self.fates, "the race is on"
        if not self.fates:
            self.fates.append(attempt(self.runner, Load(), self.other))
        return super().transform(inputs)


def test_two_loads_of_one_content_end_as_one_frame_and_one_duplicate(
    observatory: Runner, inbox: Path
) -> None:
    put(inbox / "a.fit", FRAME, seconds_ago=200)
    put(inbox / "b.fit", FRAME, seconds_ago=100)
    first, second = observatory.run(Discover()).spawned
    overtaken = Overtaken(observatory, second)
    assert observatory.run(overtaken, first).state == "duplicate"
    assert overtaken.fates == ["registered"]
    assert _count(observatory, Pawprint) == _count(observatory, Product) == 1
    report = check(observatory)
    assert report.ok, report.violations


def test_a_file_that_changed_since_it_was_seen_is_superseded_by_what_it_is_now(
    observatory: Runner, inbox: Path
) -> None:
    path = put(inbox / "M31.fit", FRAME[: len(FRAME) // 2])
    (seen,) = observatory.run(Discover()).spawned
    put(path, FRAME, seconds_ago=60)
    assert attempt(observatory, Load(), seen) == "superseded"
    assert ingest(observatory) == {"M31.fit": "registered"}
    assert check(observatory).ok


def test_a_file_that_was_taken_away_is_refused_as_vanished(observatory: Runner, inbox: Path) -> None:
    path = put(inbox / "M31.fit", FRAME)
    (seen,) = observatory.run(Discover()).spawned
    path.unlink()
    assert attempt(observatory, Load(), seen) == "vanished"
    assert "retry" in _rejections(observatory)["M31.fit"].advice


def test_a_file_whose_folder_is_not_reachable_is_tried_again(observatory: Runner, inbox: Path) -> None:
    put(inbox / "M31.fit", FRAME)
    (seen,) = observatory.run(Discover()).spawned
    inbox.rename(inbox.with_name("unmounted"))
    with pytest.raises(FileMissing):
        observatory.run(Load(), seen)
    assert state_of(observatory, seen) == "arrived"
    inbox.with_name("unmounted").rename(inbox)
    assert attempt(observatory, Load(), seen) == "registered"


# ------------------------------------------------------------------------------- cameras, sites and nights


def test_camera_and_campaign_are_made_with_the_first_frame_and_never_again(
    observatory: Runner, telescope: Telescope
) -> None:
    before = _count(observatory, CCD), _count(observatory, Campaign)
    telescope.bias(2)
    ingest(observatory)
    telescope.bias(1)
    ingest(observatory)
    assert (_count(observatory, CCD), _count(observatory, Campaign)) == (before[0] + 1, before[1] + 1)
    with observatory.database.read() as session:
        ccd = session.scalars(select(CCD).order_by(CCD.id.desc())).first()
        assert ccd is not None
        assert (ccd.xpixsize, ccd.ypixsize, ccd.gain, ccd.read_noise) == (128, 96, 1.5, 10.0)
        assert str(ccd.campaigns[0].observatory) == observatory.settings.observatory


def test_an_unknown_camera_is_taken_with_a_caveat_or_refused_as_configured(
    observatory: Runner, inbox: Path
) -> None:
    strict = replace(observatory, settings=replace(observatory.settings, accept_unknown_cameras=False))
    put(inbox / "a.fit", _without(INSTRUME="Camera of a friend"))
    assert ingest(strict) == {"a.fit": "unknown_camera"}
    put(inbox / "b.fit", _without(INSTRUME="Camera of another friend"))
    assert ingest(observatory) == {"b.fit": "registered"}
    (raw,) = products(observatory, item_named(observatory, "b.fit"), "raw")
    assert raw.caveats == ["generic_camera"]


@pytest.mark.parametrize(
    ("card", "value", "caveat"), [("CALSTAT", "BDF", "corrected_before"), ("STACKCNT", 12, "stacked_before")]
)
def test_what_the_capture_program_did_already_is_a_caveat(
    observatory: Runner, inbox: Path, card: str, value: str | int, caveat: str
) -> None:
    put(inbox / "a.fit", _without(**{card: value}))
    ingest(observatory)
    (raw,) = products(observatory, item_named(observatory, "a.fit"), "raw")
    assert raw.caveats == [caveat]


@pytest.mark.parametrize(
    ("longitude", "night"),
    [("-67 19 40", dt.date(2026, 11, 20)), ("+149 04 00", dt.date(2026, 11, 21))],
)
def test_the_longitude_of_the_site_decides_the_night(
    observatory: Runner, inbox: Path, longitude: str, night: dt.date
) -> None:
    """03:30 UT is before midnight on Cordon Macon, and early in the afternoon at Siding Spring."""
    put(inbox / "a.fit", _without(SITELAT="-31 16 00", SITELONG=longitude))
    ingest(observatory)
    assert item_named(observatory, "a.fit").night == night


def test_without_a_site_in_the_header_the_campaign_of_the_camera_decides_the_night(
    observatory: Runner, inbox: Path
) -> None:
    put(inbox / "a.fit", FRAME)
    ingest(observatory)
    assert item_named(observatory, "a.fit").night == dt.date(2026, 11, 20)
    with observatory.database.write() as session:
        ccd = session.get_one(Campaign, item_named(observatory, "a.fit").campaign_id).ccd
        site = Observatory(name="Siding Spring", latitude=-31.27, longitude=149.07)
        loan = Campaign(name="on loan", observatory=site, ccd=ccd)
        session.add(loan)
    put(inbox / "b.fit", _without(OBJECT="M 33"))
    ingest(observatory)
    frame = item_named(observatory, "b.fit")
    assert frame.night == dt.date(2026, 11, 21)
    assert frame.campaign_id == loan.id


def test_an_observatory_that_nobody_knows_asks_for_a_person(observatory: Runner, inbox: Path) -> None:
    put(inbox / "a.fit", FRAME)
    (seen,) = observatory.run(Discover()).spawned
    lost = replace(observatory, settings=replace(observatory.settings, observatory="Atlantis"))
    with pytest.raises(Misconfigured, match="toros observatory add"):
        lost.run(Load(), seen)
    assert state_of(observatory, seen) == "arrived"


def test_a_rejection_and_the_state_change_belong_to_one_run(observatory: Runner, inbox: Path) -> None:
    put(inbox / "a.fit", REFUSED["no_date"])
    ingest(observatory)
    with observatory.database.read() as session:
        rejection = session.scalars(select(Rejection)).one()
        arrival = session.get_one(Item, rejection.arrival_id)
        assert arrival.changes[-1].steprun_id == rejection.steprun_id


class WithWork(Load):
    """Notes which files lay in the staging area while it worked."""

    def write(self, result: Registered, work: Work) -> None:
        self.staged = sorted(path.name for path in work.scratch("").iterdir())
        super().write(result, work)


def test_only_a_private_copy_is_looked_into(observatory: Runner, inbox: Path) -> None:
    put(inbox / "a.fit", FRAME)
    (seen,) = observatory.run(Discover()).spawned
    step = WithWork()
    observatory.run(step, seen)
    assert step.staged == ["a.fit"]
    assert not (observatory.settings.data_root / ".staging" / "run_000002").exists()
