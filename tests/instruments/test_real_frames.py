"""Every real frame is described as its header deserves, or refused for the right reason."""

from __future__ import annotations

import tomllib
import warnings
from collections import Counter
from pathlib import Path, PurePath

import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from toros.errors import Unprocessable
from toros.instruments import describe, observing_night
from toros.store.fits_file import inspect

TABLE = tomllib.loads((Path(__file__).parent / "real_frames.toml").read_text(encoding="utf-8"))["frames"]
DERIVED = {
    "camera": lambda found: found.ccd_name,
    "longitude": lambda found: found.site_longitude,
    "night": lambda found: observing_night(found.date_obs, found.site_longitude or 0.0),
}

pytestmark = pytest.mark.real_frames


@pytest.mark.parametrize("expected", TABLE, ids=[entry["path"] for entry in TABLE])
def test_a_real_frame_is_what_its_header_says(expected, real_frames, profiles):
    paths = sorted(real_frames.glob(expected["path"]))
    assert paths
    for path in paths:
        if "refused" in expected:
            with pytest.raises(Unprocessable) as refusal:
                described(path, real_frames, profiles)
            assert refusal.value.code == expected["refused"]
        else:
            assert facts(described(path, real_frames, profiles), expected) == {
                "filter": None
            } | approximately(expected)


def test_the_table_holds_every_real_file_once(real_frames):
    listed = Counter(path for entry in TABLE for path in real_frames.glob(entry["path"]))
    assert set(listed) == {path for path in real_frames.rglob("*") if path.is_file()}
    assert set(listed.values()) == {1}


def test_every_frame_that_is_taken_has_a_geometry_that_fits_it(real_frames, profiles):
    taken = [entry["path"] for entry in TABLE if "refused" not in entry]
    for path in (next(real_frames.glob(pattern)) for pattern in taken):
        frame = described(path, real_frames, profiles)
        assert frame.geometry().raw_shape == (frame.naxis2, frame.naxis1)


@pytest.mark.parametrize(
    ("program", "shape", "expected"),
    [
        ("apt", (2822, 4144), {"exptime": 240.0, "set_temp": -15.0, "gain_setting": 120.0, "ra_deg": 23.75}),
        ("maximdl", (3232, 4864), {"exptime": 300.0, "filter": "SII", "calibration_status": "BDF"}),
        ("nina", (2822, 4144), {"exptime": 30.0, "bayer": "RGGB", "offset_setting": 30.0, "ra_deg": None}),
        ("seestar", (1920, 1080), {"exptime": 10.0, "filter": "IRCUT", "exposures_combined": 187}),
        ("sharpcap", (1088, 1936), {"exptime": 2.0, "ccdtemp": 12.7, "filter": None}),
    ],
)
def test_the_header_of_a_capture_program_is_understood(program, shape, expected, real_frames, profiles):
    text = (real_frames / f"headers/capture_programs/header_{program}.txt").read_text(encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # lines broken by hand
        header = fits.Header.fromstring(text, sep="\n")
        frame = describe(header, shape, PurePath("lights/frame.fits"), profiles)
    assert frame.dialect == program
    assert frame.imagetype == "Science"
    assert {name: getattr(frame, name) for name in expected} == approximately(expected)


def described(path, root, profiles):
    image = inspect(path)
    return describe(image.header, image.shape, path.relative_to(root), profiles)


def facts(frame, expected):
    """Whatever the table tells about the frame; a filter is always told, by leaving it out too."""
    names = {*expected, "filter"} - {"path"}
    told = {name: DERIVED[name](frame) if name in DERIVED else getattr(frame, name) for name in names}
    return {"path": expected["path"], **told}


def approximately(expected):
    return {
        name: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
        for name, value in expected.items()
    }
