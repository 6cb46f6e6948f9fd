"""Profiles are data: the shipped ones are sound, own ones go first, and a wrong one says where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from toros.errors import BadProfile, UnknownCamera, WrongGeometry
from toros.instruments import load_profiles

CAMERAS = {
    "Azulcito",
    "STA1600LN",
    "Alta U9",
    "Alta F16M",
    "SBIG ST-10",
    "SBIG STXL-6303",
    "Seestar S50",
    "ASI120MC",
}


def test_the_shipped_cameras_are_there_and_the_generic_one_comes_last(profiles):
    assert {camera.name for camera in profiles.cameras} >= CAMERAS
    assert profiles.cameras[-1].is_generic
    assert profiles.camera("Azulcito").dark_temperature_limit == -14.0


def test_names_of_cameras_and_dialects_are_unique(profiles):
    for things in (profiles.cameras, profiles.dialects):
        assert len({thing.name for thing in things}) == len(things)


def test_a_camera_that_is_not_there_is_unknown(profiles):
    with pytest.raises(UnknownCamera, match="Polaroid"):
        profiles.camera("Polaroid")


def test_an_own_profile_is_asked_before_the_shipped_ones(tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras/mine.toml").write_text(
        "name = 'My Seestar'\nmatch = [{ INSTRUME = 'Seestar' }]\npixels = [1080, 1920]\ngain = 0.3\n"
    )
    header = fits.Header([("INSTRUME", "Seestar S50")])
    assert load_profiles([tmp_path]).camera_of(header, (1920, 1080), (1, 1)).name == "My Seestar"


def test_an_own_file_of_the_same_name_replaces_the_shipped_one(tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras/azulcito.toml").write_text("name = 'Azulcito'\npixels = [4096, 4096]\ngain = 1.4\n")
    found = [camera.gain for camera in load_profiles([tmp_path]).cameras if camera.name == "Azulcito"]
    assert found == [1.4]


def test_an_own_dialect_needs_only_say_what_is_different(tmp_path, profiles):
    (tmp_path / "dialects").mkdir()
    (tmp_path / "dialects/mine.toml").write_text(
        "name = 'mine'\nrecognise = [{ PROGRAM = '^dome$' }]\n"
        "[quantities]\nexptime = [{ card = 'MSEC', scale = 1e-3 }]\n"
    )
    dialect = load_profiles([tmp_path]).dialect_of(fits.Header([("PROGRAM", "dome")]))
    generic = profiles.dialects[-1]
    assert dialect.name == "mine"
    assert dialect.quantities.exptime[0].scale == 1e-3
    assert dialect.quantities.date_obs == generic.quantities.date_obs
    assert dialect.type_of("flatdome") == "Flat"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "not TOML"),
        ("name = 'x'\ncolour = 'red'", "colour"),
        ("name = 'x'\ngain = -1.0", "gain"),
        ("name = 'x'\nmatch = [{ INSTRUME = '(' }]", "INSTRUME"),
        ("name = 'x'\nmatch = [{}]", "match"),
        ("brand = 'x'", "name"),
        ("name = 'x'\n[[type_rules]]\nwhere = 'path'\nmatches = 'x'\ntype = 'Twilight'", "type"),
        ("name = 'x'\npixels = [10, 10]\nreadout = { amplifiers = [2, 1], active = [4, 10] }", "amplifiers"),
    ],
)
def test_a_wrong_profile_names_file_and_field(text, complaint, tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras/broken.toml").write_text(text)
    with pytest.raises(BadProfile, match=r"broken\.toml") as error:
        load_profiles([tmp_path])
    assert complaint in error.value.message


def test_a_folder_of_profiles_that_is_not_there_is_misconfigured(tmp_path):
    with pytest.raises(BadProfile, match="nowhere"):
        load_profiles([tmp_path / "nowhere"])


# ----------------------------------------------------------------------------------------------- geometry


def test_the_chip_of_toros_is_read_by_sixteen_amplifiers(profiles):
    geometry = profiles.camera("STA1600LN").geometry(1, 1, (10600, 12000))
    assert geometry.shape == (10560, 10560)
    assert len(geometry.amplifiers) == 16
    last = geometry.amplifiers[-1]
    assert last.data == (slice(5320, 10600), slice(10500, 11820))
    assert last.overscan == (slice(5320, 10600), slice(11820, 12000))
    assert last.target == (slice(5280, 10560), slice(9240, 10560))
    assert {(amplifier.gain, amplifier.read_noise) for amplifier in geometry.amplifiers} == {(0.38, 5.0)}


def test_a_frame_that_was_trimmed_already_has_one_amplifier(profiles):
    geometry = profiles.camera("STA1600LN").geometry(1, 1, (10560, 10560))
    assert not geometry.has_overscan
    assert len(geometry.amplifiers) == 1


def test_binned_amplifiers_tile_the_binned_image(profiles):
    geometry = profiles.camera("STA1600LN").geometry(4, 4, (2650, 3000))
    covered = np.zeros(geometry.shape, dtype=int)
    for amplifier in geometry.amplifiers:
        covered[amplifier.target] += 1
    assert geometry.shape == (2640, 2640)
    assert (covered == 1).all()


@pytest.mark.parametrize(("binning", "shape"), [((1, 1), (10600, 10560)), ((7, 7), (1514, 1714))])
def test_another_layout_does_not_fit(binning, shape, profiles):
    with pytest.raises(WrongGeometry):
        profiles.camera("STA1600LN").geometry(*binning, shape)


def test_the_gain_is_the_cameras_own_then_the_headers_then_one(profiles):
    toros, generic = profiles.camera("STA1600LN"), profiles.camera("generic")
    assert toros.geometry(1, 1, (10560, 10560), egain=9.0).amplifiers[0].gain == 0.38
    assert generic.geometry(1, 1, (10, 10), egain=0.78).amplifiers[0].gain == 0.78
    assert generic.geometry(1, 1, (10, 10)).amplifiers[0].gain == 1.0
