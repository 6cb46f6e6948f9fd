"""Headers of all dialects, told in one language; and what is wrong with a header, told to its observer."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from toros.errors import BadHeader, NoDate, UnknownCamera, UnknownImageType, WrongGeometry
from toros.instruments import describe, load_profiles
from toros.instruments.cards import parse_number, parse_sexagesimal

SHAPE = (100, 120)


@pytest.fixture
def frame(profiles):
    """Describe a good frame of 120 x 100 pixels with some cards changed; None takes a card away."""

    def describe_with(path="frame.fit", shape=SHAPE, profiles=profiles, **changes):
        cards = {
            "BITPIX": 16,
            "NAXIS": 2,
            "INSTRUME": "Moravian G4",
            "DATE-OBS": "2012-06-17T01:56:40",
            "EXPTIME": 60.0,
            "IMAGETYP": "Light Frame",
        }
        cards |= {name.replace("_", "-"): value for name, value in changes.items()}
        header = fits.Header([(name, value) for name, value in cards.items() if value is not None])
        return describe(header, shape, PurePath(path), profiles)

    return describe_with


# ----------------------------------------------------------------------------------------------- dialects


@pytest.mark.parametrize(
    ("dialect", "cards", "expected"),
    [
        ("maximdl", {"SWCREATE": "MaxIm DL Version 6.16"}, {"imagetype": "Science"}),
        ("maximdl", {"TELESCOP": "ACP->Paramount"}, {}),
        ("maximdl", {"SWCREATE": "MaxIm DL 5", "OBJECT": "Autosave Image"}, {"object_": None}),
        ("nina", {"SWCREATE": "N.I.N.A. 2.1.1 (x64)", "IMAGETYP": "SNAPSHOT"}, {"imagetype": "Science"}),
        ("nina", {"SWCREATE": "N.I.N.A. 2.1.1 (x64)", "IMAGETYP": "DARKFLAT"}, {"imagetype": "Dark"}),
        ("sharpcap", {"SWCREATE": "SharpCap v4.1.12946.0, 64 bit", "COLORTYP": "RGGB"}, {"bayer": "RGGB"}),
        ("seestar", {"CREATOR": "ZWO Seestar S30", "RA": 10.5, "DEC": -5.0}, {"ra_deg": 10.5}),
        (
            "lco",
            {"ORIGIN": "LCOGT", "IMAGETYP": None, "OBSTYPE": "EXPOSE", "CCDSUM": "2 2", "FILTER": "air"}
            | {"GAIN": 1.4, "CCDATEMP": -20.0, "CCDSTEMP": -20.0},
            {
                "xbinning": 2,
                "ybinning": 2,
                "egain": 1.4,
                "gain_setting": None,
                "filter": None,
                "ccdtemp": -20.0,
            },
        ),
        ("apogee", {"PROGRAM": "Apogee MaxCCD 3.2", "TEMPERAT": -25.0}, {"ccdtemp": -25.0}),
        ("sbig", {"SWCREATE": "SBIG Win CCDOPS Version 5.47", "FILTER": "None"}, {"filter": None}),
        ("sbig", {"SWCREATE": "CCDSoft Version 5", "IMAGETYP": None, "PICTTYPE": 3}, {"imagetype": "Dark"}),
        ("sbig", {"SWCREATE": "TheSkyX Version 10.5.0", "IMAGETYP": "Flat Field"}, {"imagetype": "Flat"}),
        ("asi", {"SWCREATE": "ASICap", "EXPTIME": "6,4E-05", "EXPOINUS": 64}, {"exptime": 6.4e-5}),
        ("apt", {"SWCREATE": "Astro Photography Tool - APT v.3.54.1", "GAIN": 120}, {"gain_setting": 120.0}),
        ("indi", {"SWCREATE": "KStars 3.6", "IMAGETYP": None, "FRAME": "Bias"}, {"imagetype": "Bias"}),
        ("sgp", {"CREATOR": "Sequence Generator Pro v3.1.0.479", "EGAIN": 3.99}, {"egain": 3.99}),
        (
            "panoptes",
            {"CREATOR": "POCSv0.1.1", "IMAGETYP": None, "FIELD": "KIC 8462852", "FILTER": "RGGB"}
            | {"CAMTEMP": "11 C", "RA-MNT": 301.5, "DEC-MNT": 44.4, "ELEV-OBS": 3400.0, "LAT-OBS": 19.5}
            | {"LONG-OBS": -155.6},
            {"imagetype": "Science", "filter": None, "bayer": "RGGB", "ccdtemp": 11.0, "ra_deg": 301.5},
        ),
        ("iraf", {"ORIGIN": "NOAO-IRAF FITS Image", "IMAGETYP": "zero", "GAIN": 1.9}, {"egain": 1.9}),
        ("chimera", {"CREATOR": "Chimera - Observatory Automation System", "IMAGETYP": "skyflat"}, {}),
        ("toritos", {"TELESCOP": "TORITOS", "IMAGETYP": "flatdome", "FILTER": "Clear"}, {"filter": "Clear"}),
        ("generic", {"SWCREATE": "Celestron AstroFX V1.06"}, {}),
    ],
)
def test_a_dialect_is_recognised_and_understood(dialect, cards, expected, frame):
    found = frame(**cards)
    assert found.dialect == dialect
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_program_that_names_itself_goes_before_iraf_which_only_touched_the_file(frame):
    found = frame(SWCREATE="MaxIm DL Version 5.12", ORIGIN="NOAO-IRAF FITS Image Kernel July 2003")
    assert found.dialect == "maximdl"


# --------------------------------------------------------------------------------------------- image type


@pytest.mark.parametrize(
    ("words", "imagetype"),
    [
        ("Bias Frame|bias|BIAS|zero|Zero", "Bias"),
        ("Dark Frame|dark|DARK|dark_flat|DARK-FLAT", "Dark"),
        ("Flat Frame|Flat Field|FLAT|flat|flatdome|skyflat|SKY FLAT", "Flat"),
        ("Light Frame|Light|LIGHT|object|OBJECT|science", "Science"),
    ],
)
def test_every_word_for_an_image_type_is_known(words, imagetype, frame):
    for word in words.split("|"):
        assert frame(IMAGETYP=word).imagetype == imagetype


@pytest.mark.parametrize(
    ("path", "imagetype"),
    [
        ("Bias_ASIImg_frame0001.fit.gz", "Bias"),
        ("M31/night3/biases/0001.fits", "Bias"),
        ("Dark_100sec_0001.fit", "Dark"),
        ("flats/flatdark-001.fit", "Dark"),
        ("darks/300s/0001.fits.fz", "Dark"),
        ("flood-flat-001V.fit", "Flat"),
        ("flood-flat-001bias.fit", "Bias"),
        ("2026-11-20/SkyFlats/0001.fits", "Flat"),
        ("Light_NGC 7023_10.0s.fit", "Science"),
        ("2026-11-20/lights/Dark Shark nebula_0001.fits", "Science"),
        ("darks/light_0001.fits", "Science"),
    ],
)
def test_where_the_header_says_nothing_the_nearest_name_tells(path, imagetype, frame):
    assert frame(path, IMAGETYP=None).imagetype == imagetype
    assert frame(path, IMAGETYP="unknown").imagetype == imagetype


def test_the_header_is_believed_before_the_name(frame):
    assert frame("flood-flat-001.fit", IMAGETYP="BIAS").imagetype == "Bias"


@pytest.mark.parametrize("path", ["M31_0001.fit", "sideroflat.fit", "zeroth.fit", "darkness/biased.fit"])
def test_a_name_that_tells_nothing_is_refused(path, frame):
    with pytest.raises(UnknownImageType, match=PurePath(path).name):
        frame(path, IMAGETYP=None)


@pytest.mark.parametrize("word", ["Focus Frame", "SPECTROSCOPIC", "Tricolor Image", "comp"])
def test_a_frame_of_another_kind_is_refused_whatever_its_folder(word, frame):
    with pytest.raises(UnknownImageType, match=word):
        frame("lights/0001.fit", IMAGETYP=word)


def test_a_rule_wins_over_a_wrong_header_only_where_data_say_so(frame, tmp_path):
    write_profile(
        tmp_path,
        "cameras/roof.toml",
        """
        name = "Roof camera"
        match = [{ INSTRUME = '^Roof$' }]
        [[type_rules]]
        where = "path"
        matches = '^D_'
        type = "Dark"
        wins_over_header = true
        [[type_rules]]
        where = "SHUTTER"
        matches = 'closed'
        type = "Bias"
        """,
    )
    own = load_profiles([tmp_path])
    assert frame("D_0001.fit", profiles=own, INSTRUME="Roof").imagetype == "Dark"
    assert frame("L_0001.fit", profiles=own, INSTRUME="Roof").imagetype == "Science"
    assert (
        frame("0001.fit", profiles=own, INSTRUME="Roof", SHUTTER="closed", IMAGETYP=None).imagetype == "Bias"
    )
    assert frame("D_0001.fit", profiles=own).imagetype == "Science"


# ------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"OBJCTRA": "20 42 25", "OBJCTDEC": "-00 08 11"}, (310.604167, -0.136389)),
        ({"RA": " 22:04:08", "DEC": "-00:55:31"}, (331.033333, -0.925278)),
        ({"RA": "22h04m08.5s", "DEC": "+55d31m00s"}, (331.035417, 55.516667)),
        ({"RA": "22 04.5", "DEC": "-00 30.6"}, (331.125, -0.51)),
        ({"RA": 315.499995, "DEC": 68.215556}, (315.499995, 68.215556)),
        ({"RA": "315.5", "DEC": "68.2"}, (315.5, 68.2)),
        ({"OBJCTRA": "00 00 00", "OBJCTDEC": "+00 00 00"}, (None, None)),
        ({"RA": 400.0, "DEC": 0.5}, (None, None)),
        ({"RA": "22:04:08"}, (None, None)),
        ({"RA": "22:64:08", "DEC": "1:1:1"}, (None, None)),
        ({"RA": "22 0408", "DEC": "1:1:1"}, (None, None)),
    ],
)
def test_the_pointing_is_read_in_any_notation(cards, expected, frame):
    found = frame(**cards)
    assert (found.ra_deg, found.dec_deg) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"SITELAT": "-31 35 48", "SITELONG": "-64 32 56"}, (-31.596667, -64.548889, None)),
        (
            {"SITELAT": "+46:52:00.41", "SITELONG": "-96:27:11.80", "ALT-OBS": 311.8},
            (46.866781, -96.453278, 311.8),
        ),
        ({"LAT-OBS": 19.54, "LONG-OBS": 204.42, "ELEV-OBS": 3400.0}, (19.54, -155.58, 3400.0)),
    ],
)
def test_the_site_is_read_with_east_positive(cards, expected, frame):
    assert frame(**cards).site == pytest.approx(expected)


@pytest.mark.parametrize("cards", [{}, {"SITELAT": 0.0, "SITELONG": 0.0}, {"SITELAT": 95.0, "SITELONG": 0.0}])
def test_a_site_nobody_set_is_none(cards, frame):
    assert frame(**cards).site is None


@pytest.mark.parametrize("text", ["", "None", "no filter", "N/A", "Empty", "OPEN"])
def test_no_filter_has_many_names(text, frame):
    assert frame(FILTER=text).filter is None


def test_a_filter_does_not_matter_behind_a_closed_shutter(frame):
    assert frame(FILTER="R", IMAGETYP="Dark Frame").filter is None
    assert frame(FILTER=" H  alpha ", IMAGETYP="Flat Field").filter == "H alpha"


@given(st.floats(0, 1e6, allow_subnormal=False))
def test_a_number_is_a_number_with_point_comma_or_in_a_string(value):
    assert (
        parse_number(f"{value:.9E}") == parse_number(f"{value:.9E}".replace(".", ",")) == pytest.approx(value)
    )
    assert parse_number(f"{value:.9e}".replace("e", "D")) == pytest.approx(value)


@given(st.floats(0, 359.99999))
def test_sexagesimal_angles_come_back(angle):
    minutes, seconds = divmod(round(angle * 3600 * 1000) / 1000, 60)
    whole, minutes = divmod(int(minutes), 60)
    for text in (f"{whole:02d}:{minutes:02d}:{seconds:06.3f}", f"-{whole} {minutes} {seconds:.3f}"):
        assert abs(parse_sexagesimal(text)) == pytest.approx(angle, abs=1e-6)
    assert parse_sexagesimal(f"-00:{minutes:02d}:00") == pytest.approx(-minutes / 60)


@pytest.mark.parametrize(
    ("cards", "name", "expected"),
    [
        ({"CCD-TEMP": "11 C"}, "ccdtemp", 11.0),
        ({"CCD-TEMP": 180.2}, "ccdtemp", None),  # kelvin
        ({"CCD-TEMP": "n/a"}, "ccdtemp", None),
        ({"EGAIN": 0.0}, "egain", None),
        ({"FOCALLEN": 0.0}, "focal_length_mm", None),
        ({"OBJECT": "  "}, "object_", None),
        ({"OBJECT": "eta  Car"}, "object_", "eta Car"),
        ({"BAYERPAT": "RGGB", "XBAYROFF": 1, "YBAYROFF": 0}, "bayer", "GRBG"),
        ({"BAYERPAT": "RGGB", "XBAYROFF": 1, "YBAYROFF": 1}, "bayer", "BGGR"),
        ({"COLORTYP": "RAW16"}, "bayer", None),
        ({"NCOMBINE": 10}, "exposures_combined", 10),
        ({"EXPTIME": None, "EXPOSURE": "30,5"}, "exptime", 30.5),
        ({"EXPTIME": None, "IMAGETYP": "bias"}, "exptime", 0.0),
        ({"XPIXSZ": 13.6, "XBINNING": 2}, "xpixsz", 13.6),
    ],
)
def test_a_value_is_taken_only_where_it_means_something(cards, name, expected, frame):
    assert getattr(frame(**cards), name) == expected


# ----------------------------------------------------------------------------------------------- cameras


def test_a_camera_without_profile_gets_its_name_from_instrument_and_size(frame):
    found = frame(INSTRUME="FLI  PL16803", XBINNING=2, YBINNING=2, XPIXSZ=18.0)
    assert found.camera.is_generic
    assert found.ccd_name == "FLI PL16803 240x200"
    assert found.unbinned_shape == (200, 240)
    assert found.camera.pixel_size == 9.0
    assert found.camera.read_noise is None


def test_size_tells_the_cameras_of_one_driver_apart(frame):
    assert frame(INSTRUME="Apogee USB/Net", shape=(682, 1024), XBINNING=3, YBINNING=3).ccd_name == "Alta U9"
    assert frame(INSTRUME="Apogee USB/Net", shape=(681, 1024), XBINNING=3, YBINNING=3).camera.is_generic


def test_the_site_tells_two_cameras_of_one_driver_and_one_size_apart(frame):
    apogee = {"INSTRUME": "Apogee USB/Net", "shape": (4096, 4096)}
    assert frame(**apogee, SITELAT="-24 37 23").ccd_name == "Azulcito"
    assert frame(**apogee, SITELAT="25 59 45").ccd_name == "Alta F16M"
    assert frame(**apogee, SITELAT="-2 45 00").camera.is_generic
    assert frame(**apogee).camera.is_generic


def test_a_frame_of_the_wrong_size_is_refused_with_both_sizes(frame):
    with pytest.raises(WrongGeometry, match=r"1000 x 1920 .* 1080 x 1920"):
        frame(INSTRUME="Seestar S50", shape=(1920, 1000))


def test_binning_counts_for_the_size(frame):
    assert frame(INSTRUME="SBIG ST-10 3 CCD Camera", shape=(736, 1092), XBINNING=2, YBINNING=2).xbinning == 2
    with pytest.raises(WrongGeometry):
        frame(INSTRUME="SBIG ST-10 3 CCD Camera", shape=(736, 1092))


def test_a_part_of_the_chip_is_refused(frame):
    with pytest.raises(WrongGeometry, match="column 64 and row 0"):
        frame(XORGSUBF=64, YORGSUBF=0)


# --------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", [None, "", "unknown", "N/A"])
def test_a_frame_that_names_no_camera_is_refused(name, frame):
    with pytest.raises(UnknownCamera):
        frame(INSTRUME=name)


def test_a_frame_without_date_is_refused(frame):
    with pytest.raises(NoDate):
        frame(**{"DATE-OBS": None})


@pytest.mark.parametrize(
    "cards",
    [
        {"EXPTIME": None},
        {"EXPTIME": "long"},
        {"EXPTIME": -1.0},
        {"EXPTIME": "5 ms"},
        {"XBINNING": 0},
        {"XBINNING": 1.5},
        {"YBINNING": "two"},
        {"DATE-OBS": "20120617"},
        {"BITPIX": None},
    ],
    ids=str,
)
def test_a_card_that_is_needed_must_make_sense(cards, frame):
    with pytest.raises(BadHeader):
        frame(**cards)


def write_profile(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(line.strip() for line in text.splitlines()), encoding="utf-8")
