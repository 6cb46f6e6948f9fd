"""Reference catalogues: loaded from whatever people have, found by their place on the sky."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import Distance, SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from toros.catalogues import Catalogue, open_catalogue, open_catalogues, reference_stars
from toros.catalogues.loading import add_catalogue, remove_catalogue
from toros.errors import BadCatalogue, BadParameters, CatalogueTooShallow, ItemBusy, NoCatalogue

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
POSITIONS = ((0.02, -30.0), (359.99, -30.0), (120.0, 45.0), (10.0, 89.999), (200.0, -89.99))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the catalogues."""
    return tmp_path / "catalogues"


def add(
    table: Table | str, folder: Path, name: str = "stars", *, suffix: str = "ecsv", **options
) -> Catalogue:
    """Write a table into a file and load that."""
    file = folder.parent / f"{name}.{suffix}"
    if isinstance(table, str):
        file.write_text(table)
    else:
        formats = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "tsv": "ascii.tab", "vot": "votable"}
        table.write(file, format=formats.get(suffix, suffix), overwrite=True)
    return add_catalogue(file, folder, now=NOW, **options)


def whole_sky(n: int, seed: int = 1) -> Table:
    """Stars all over the sky, many of them crowded around the poles and around right ascension zero."""
    rng = np.random.default_rng(seed)
    ra, z = rng.uniform(0, 360, n), rng.uniform(-1, 1, n)
    dec = np.degrees(np.arcsin(z))
    dec[: n // 8] = 90 - rng.uniform(0, 1.5, n // 8) * rng.choice([1, 119], n // 8)
    dec[: n // 8] = np.clip(dec[: n // 8], -90, 90)
    ra[n // 8 : n // 4], dec[n // 8 : n // 4] = rng.normal(0, 1, (2, n // 4 - n // 8))
    return Table(
        {
            "ra": ra % 360,
            "dec": np.clip(dec, -90, 90),
            "phot_g_mean_mag": rng.uniform(5, 18, n),
            "source_id": np.arange(n) + 10**17,
        }
    )


# ------------------------------------------------------------------------------------------------- cones


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, SkyCoord, Table]:
    table = whole_sky(40_000)
    catalogue = add(table, tmp_path_factory.mktemp("sky") / "catalogues", suffix="fits")
    return catalogue, SkyCoord(table["ra"], table["dec"], unit="deg"), table


@settings(max_examples=150)
@given(
    ra=st.floats(0, 360) | st.sampled_from([0.0, 360.0, 180.0]),
    dec=st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 0.0, 41.8103]),
    log_radius=st.floats(-3, 2.25),
)
def test_a_cone_holds_exactly_the_stars_within_its_radius(
    sky, ra: float, dec: float, log_radius: float
) -> None:
    catalogue, coordinates, table = sky
    radius = 10**log_radius
    distance = coordinates.separation(SkyCoord(ra, dec, unit="deg")).deg
    found = set(catalogue.cone(ra, dec, radius)["source_id"].tolist())
    within, beyond = distance < radius - 1e-9, distance > radius + 1e-9
    assert set(table["source_id"][within].tolist()) <= found
    assert not found & set(table["source_id"][beyond].tolist())


def test_the_whole_sky_is_a_cone_too(sky) -> None:
    catalogue, _, table = sky
    assert len(catalogue.cone(0, 0, 180)) == len(table)


def test_stars_come_with_units_the_brightest_first(sky) -> None:
    stars = sky[0].cone(0, 0, 1)
    assert (stars["ra"].unit, stars["dec"].unit, stars["mag"].unit) == (u.deg, u.deg, u.mag)
    assert np.all(np.diff(stars["mag"]) >= 0)
    assert np.array_equal(stars["mag"], stars["G"])
    assert stars.meta["band"] == "G"


# ---------------------------------------------------------------------------------------- proper motion


@pytest.mark.parametrize("position", POSITIONS)
def test_stars_are_where_astropy_says_they_have_moved_to(folder: Path, position: tuple[float, float]) -> None:
    moving = SkyCoord(
        *(position * u.deg),
        pm_ra_cosdec=-798.58 * u.mas / u.yr,
        pm_dec=10328.12 * u.mas / u.yr,
        distance=Distance(10 * u.pc),
        obstime=Time(2016.0, format="jyear"),
    )
    table = Table({"ra": [position[0]], "dec": [position[1]], "pmra": [-798.58], "pmdec": [10328.12]})
    table["Gmag"], table["ref_epoch"] = 9.5, 2016.0
    catalogue = add(table, folder)
    then = moving.apply_space_motion(Time(2026.9, format="jyear"))
    [star] = catalogue.cone(then.ra.deg, then.dec.deg, 1 / 3600, 2026.9)
    assert SkyCoord(star["ra"], star["dec"], unit="deg").separation(then).mas < 0.5
    assert not len(catalogue.cone(then.ra.deg, then.dec.deg, 1 / 3600))


def test_positions_of_several_epochs_are_brought_to_one(folder: Path) -> None:
    table = Table({"ra": [10.0, 10.0], "dec": [0.0, 0.0], "pmra": [0.0, 0.0], "pmdec": [1000.0, 1000.0]})
    table["Gmag"], table["ref_epoch"] = [9.0, 10.0], [2016.0, 2006.0]
    catalogue = add(table, folder)
    assert catalogue.description.epoch == 2016.0
    assert not catalogue.description.epoch_assumed
    stars = catalogue.cone(10, 0, 0.1, 2016.0)
    assert stars["dec"] * 3600 == pytest.approx([0, 10])


def test_a_motion_that_no_star_has_is_not_believed(folder: Path) -> None:
    table = Table({"ra": [10.0], "dec": [0.0], "pmra": [1e6], "pmdec": [0.0], "Gmag": [9.0]})
    catalogue = add(table, folder)
    assert catalogue.description.origin.impossible_motion == 1
    assert catalogue.cone(10, 0, 0.01, 2030.0)["ra"] == pytest.approx([10.0])


@pytest.mark.parametrize(
    ("columns", "epoch"),
    [
        (("ra", "dec", "phot_g_mean_mag"), 2016.0),
        (("RA_ICRS", "DE_ICRS", "Gmag"), 2016.0),
        (("RAJ2000", "DEJ2000", "Gmag"), 2000.0),
        (("RAmdeg", "DEmdeg", "VTmag"), 2000.0),
    ],
)
def test_an_epoch_that_nobody_tells_is_assumed_and_said_to_be(folder: Path, columns, epoch: float) -> None:
    catalogue = add(Table([[10.0], [20.0], [12.0]], names=columns), folder)
    assert (catalogue.description.epoch, catalogue.description.epoch_assumed) == (epoch, True)
    told = add(Table([[10.0], [20.0], [12.0]], names=columns), folder, epoch=2015.5)
    assert (told.description.epoch, told.description.epoch_assumed) == (2015.5, False)


# ------------------------------------------------------------------------------------- files of all kinds

GAIA = Table(
    {
        "source_id": np.array([4295806720, 34361129088], np.int64),
        "ra": [44.99615, 45.00432],
        "dec": [0.005616, 0.021048],
        "pmra": MaskedColumn([11.93, 0.0], mask=[False, True]),
        "pmdec": MaskedColumn([-16.0, 0.0], mask=[False, True]),
        "ref_epoch": [2016.0, 2016.0],
        "phot_g_mean_mag": [17.64, 13.1],
        "phot_bp_mean_mag": MaskedColumn([18.1, 0.0], mask=[False, True]),
        "phot_rp_mean_mag": [17.0, 12.4],
        "phot_g_mean_flux_over_error": [1085.7, 2171.4],
    }
)


@pytest.mark.parametrize("suffix", ["fits", "vot", "csv", "ecsv", "tsv"])
def test_gaia_is_recognised_in_every_format(folder: Path, suffix: str) -> None:
    catalogue = add(GAIA, folder, suffix=suffix)
    bright, faint = catalogue.cone(45, 0, 0.1)
    assert catalogue.bands == ("G", "BP", "RP")
    assert (bright["source_id"], faint["source_id"]) == (34361129088, 4295806720)
    assert (bright["G"], faint["BP"]) == pytest.approx((13.1, 18.1))
    assert np.isnan(bright["BP"])
    assert (bright["G_err"], faint["G_err"]) == pytest.approx((0.0005, 0.001), rel=1e-3)


def test_gaia_is_recognised_in_parquet_and_in_packed_files(folder: Path, tmp_path: Path) -> None:
    arrays = {name: GAIA[name].filled(np.nan) if GAIA[name].dtype.kind == "f" and hasattr(GAIA[name], "filled")
              else GAIA[name].data for name in GAIA.colnames}  # fmt: skip
    pq.write_table(
        pa.table({name: np.asarray(column) for name, column in arrays.items()}), tmp_path / "g.parquet"
    )
    GAIA.write(tmp_path / "plain.csv", format="ascii.csv")
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    shutil.copy(tmp_path / "plain.csv", tmp_path / "no_suffix")
    for file in ("g.parquet", "packed.csv.gz", "no_suffix"):
        catalogue = add_catalogue(tmp_path / file, folder, now=NOW)
        assert catalogue.cone(45, 0, 0.1)["G"].tolist() == pytest.approx([13.1, 17.64])


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        ("RAmdeg DEmdeg BTmag VTmag e_VTmag", "BT VT"),
        ("ra_deg dec_deg vt_mag", "VT"),
        ("RAJ2000 DEJ2000 Vmag e_Vmag Bmag g'mag r'mag i'mag", "V B g r i"),
        ("RAJ2000 DEJ2000 g_mag r_mag i_mag", "g r i"),
        ("radeg decdeg Johnson_V Sloan_g", "V g"),
        ("RAJ2000 DEJ2000 Jmag e_Jmag Hmag Kmag", "J H K"),
        ("ra decl j_m j_msigcom h_m k_m", "J H K"),
        ("RA_ICRS DE_ICRS Gmag gmag", "G g"),
        ("RA Dec G BP RP g r i z", "G BP RP g r i z"),
    ],
)
def test_catalogues_are_recognised_as_vizier_or_their_authors_spell_them(
    folder: Path, names: str, bands: str
) -> None:
    table = Table([[number + 10.0] for number in range(len(names.split()))], names=names.split())
    catalogue = add(table, folder)
    assert catalogue.bands == tuple(bands.split())
    [star] = catalogue.cone(10, 11, 0.001)
    assert [star[band] for band in catalogue.bands] == [
        table[name][0] for name in names.split()[2:] if not name.startswith("e_") and "sig" not in name
    ]
    assert any(name.endswith("_err") for name in star.colnames) == ("e_" in names or "msigcom" in names)


def test_a_person_may_say_which_column_is_what(folder: Path) -> None:
    text = "star,x1,x2,clear,noise\nA,1.0,-5.5,11.5,0.02\n"
    words = {"ra": "x1", "dec": "X2", "source_id": "star", "L_err": "noise"}
    catalogue = add(
        text, folder, suffix="csv", columns=words, bands={"L": "clear"}, units={"ra": "hourangle"}
    )
    [star] = catalogue.cone(15, -5.5, 0.001)
    assert (star["source_id"], star["L"], star["L_err"]) == ("A", pytest.approx(11.5), pytest.approx(0.02))


def test_sexagesimal_texts_and_hours_are_understood(folder: Path) -> None:
    text = "RA;Dec;Vmag\n05:35:17.3;-05:23:28;9.0\n 05 35 17.3;-00 23 28;10.0\n5h35m17.3s;+5d23m28s;11.0\n"
    stars = add(text, folder, suffix="csv").cone(83.82208, 0, 10)
    assert stars["ra"] == pytest.approx([83.822083] * 3, abs=1e-6)
    assert stars["dec"] == pytest.approx([-5.391111, -0.391111, 5.391111], abs=1e-6)
    hours = Table({"ra": [1.0] * u.hourangle, "dec": [0.1] * u.rad, "Vmag": [9.0]})
    assert add(hours, folder).cone(15, np.degrees(0.1), 1e-4)["V"] == pytest.approx([9.0])


def test_motions_are_taken_in_the_unit_of_the_file(folder: Path) -> None:
    table = Table({"ra": [0.0], "dec": [0.0], "Vmag": [9.0], "pmra": [0.0], "pmdec": [1e-4]})
    table["pmra"].unit = table["pmdec"].unit = u.deg / u.yr
    assert add(table, folder, epoch=2000).cone(0, 0, 0.1, 2010)["dec"] == pytest.approx([1e-3])


def test_bad_rows_are_counted_and_the_others_stay(folder: Path) -> None:
    text = (
        "#RESOURCE=tycho\n\n#Title: from VizieR\nRAmdeg\tDEmdeg\tVTmag\ndeg\tdeg\tmag\n---\t---\t---\n"
        "10.0\t20.0\t9.5\n\t\t11.0\n12.0\t97.0\t11\n13.0\t20.0\tbright\n14.0\t20.0\t99.999\n15.0\n-5.0\t+20.0\t 8.5\n"
    )
    catalogue = add(text, folder, suffix="tsv")
    origin = catalogue.description.origin
    assert (origin.without_position, origin.without_magnitude, origin.unreadable) == (4, 2, 1)
    assert catalogue.description.stars == 4
    assert catalogue.cone(355, 20, 0.01)["VT"] == pytest.approx([8.5])


def test_many_pieces_make_one_catalogue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toros.catalogues.table_files.ROWS", 100)
    table = whole_sky(1050)
    for suffix in ("fits", "ecsv"):
        stars = add(table, folder, suffix=suffix).cone(0, 0, 180)
        assert sorted(stars["source_id"].tolist()) == table["source_id"].tolist()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a remark\n",
        "name,age\nAda,36\n",
        "ra,dec\n1,2\n",
        "ra,dec,Vmag\nx,y,9\n",
        "\x00\x01\x02",
        "<a/>",
    ],
)
def test_what_is_no_catalogue_is_refused_and_leaves_nothing(folder: Path, text: str) -> None:
    with pytest.raises(BadCatalogue):
        add(text, folder, suffix="dat")
    assert open_catalogues(folder) == []


def test_wrong_words_are_refused(folder: Path) -> None:
    text = "ra,dec,Vmag\n1,2,9\n"
    for words in (
        {"columns": {"parallax": "ra"}},
        {"bands": {"ra": "Vmag"}},
        {"units": {"ra": "mag"}},
        {"units": {"V": "mag"}},
    ):
        with pytest.raises(BadParameters):
            add(text, folder, suffix="csv", **words)
    with pytest.raises(BadParameters):
        add_catalogue(folder.parent / "stars.csv", folder, "../x", now=NOW)
    with pytest.raises(BadCatalogue, match="it has: ra, dec, Vmag"):
        add(text, folder, suffix="csv", bands={"V": "Bmag"})


# ------------------------------------------------------------------------------------------- versions


def stars_at(ra: float, n: int, mag: float = 10.0) -> Table:
    return Table(
        {"ra": np.full(n, ra), "dec": np.linspace(-0.1, 0.1, n), "Vmag": np.linspace(mag, mag + 2, n)}
    )


def test_adding_a_name_again_makes_a_version_that_new_readers_see(folder: Path) -> None:
    old = add(stars_at(10, 3), folder)
    new = add(stars_at(10, 5), folder)
    assert (old.description.version, new.description.version) == (1, 2)
    assert (len(old.cone(10, 0, 1)), len(new.cone(10, 0, 1))) == (3, 5)
    assert open_catalogue(folder, "stars").description == new.description
    for _ in range(2):
        add(stars_at(10, 7), folder)
    assert sorted(p.name for p in (folder / "stars").iterdir()) == ["v000003", "v000004"]
    assert len(old.cone(10, 0, 1)) == 3


def test_a_killed_load_leaves_the_old_version_and_the_next_one_cleans_up(folder: Path) -> None:
    add(stars_at(10, 3), folder)
    (folder / ".staging" / "stars").mkdir(parents=True)
    (folder / ".staging" / "stars" / "half").write_bytes(b"x" * 100)
    assert [c.description.version for c in open_catalogues(folder)] == [1]
    add(stars_at(10, 4), folder)
    assert not (folder / ".staging").exists()


def test_two_at_once_are_told_apart(folder: Path) -> None:
    add(stars_at(10, 3), folder)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(folder / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ItemBusy):
            add(stars_at(10, 4), folder)
        with pytest.raises(ItemBusy):
            remove_catalogue(folder, "stars")
    finally:
        other.communicate(b"\n")
    assert add(stars_at(10, 4), folder).description.version == 2


def test_a_removed_catalogue_is_gone(folder: Path) -> None:
    add(stars_at(10, 3), folder)
    remove_catalogue(folder, "stars")
    assert open_catalogues(folder) == []
    with pytest.raises(NoCatalogue):
        remove_catalogue(folder, "stars")
    with pytest.raises(NoCatalogue):
        open_catalogue(folder, "stars")


def test_a_damaged_catalogue_is_not_read(folder: Path) -> None:
    catalogue = add(stars_at(10, 3), folder)
    file = folder / "stars" / "v000001" / catalogue.description.columns[0].file
    os.truncate(file, 8)
    with pytest.raises(BadCatalogue, match="damaged"):
        open_catalogue(folder, "stars")
    (file.parent / "catalogue.json").write_text("{}")
    with pytest.raises(BadCatalogue):
        open_catalogue(folder, "stars")


def test_the_coverage_tells_where_the_stars_are(folder: Path) -> None:
    coverage = add(stars_at(200, 50), folder).description.coverage
    assert (coverage.ra, coverage.dec) == pytest.approx((200, 0), abs=0.5)
    assert 0.1 < coverage.radius < 0.6
    assert 0.2 <= coverage.area < 2
    everywhere = add(whole_sky(200_000), folder).description.coverage
    assert everywhere.area == pytest.approx(41253, rel=0.5)
    assert everywhere.radius > 90


# ------------------------------------------------------------------------------------------ which catalogue


def test_the_catalogue_with_most_stars_in_the_field_is_taken(folder: Path) -> None:
    add(stars_at(10, 30), folder, "shallow")
    add(stars_at(10, 60), folder, "deep")
    add(stars_at(50, 90), folder, "elsewhere")
    stars = reference_stars(folder, 10, 0, 0.5, 2026.9)
    assert (stars.meta["catalogue"], len(stars)) == ("deep", 60)
    assert reference_stars(folder, 10, 0, 0.5, None, limit=5)["mag"].tolist() == stars["mag"][:5].tolist()
    assert max(reference_stars(folder, 10, 0, 0.5, None, faintest=11)["mag"]) <= 11


def test_of_two_alike_the_first_by_name_is_taken(folder: Path) -> None:
    for name in ("b", "a", "c"):
        add(stars_at(10, 30), folder, name)
    assert reference_stars(folder, 10, 0, 0.5, None).meta["catalogue"] == "a"


def test_a_band_may_be_asked_for(folder: Path) -> None:
    red = Table({"ra": [10.0] * 3, "dec": [0.0, 0.01, 0.02], "Rmag": [np.nan, 11.0, 12.0], "Vmag": [9.0] * 3})
    add(red, folder, "red")
    add(stars_at(10, 30), folder, "visual")
    stars = reference_stars(folder, 10, 0, 0.5, None, band="R")
    assert (stars.meta["catalogue"], stars["mag"].tolist()) == ("red", [11.0, 12.0])
    with pytest.raises(NoCatalogue, match="band i"):
        reference_stars(folder, 10, 0, 0.5, None, band="i")


def test_who_must_act_is_told_what_to_do(folder: Path) -> None:
    with pytest.raises(NoCatalogue, match="toros catalogue add"):
        reference_stars(folder, 10, 0, 0.5, None)
    add(stars_at(10, 30), folder)
    with pytest.raises(NoCatalogue, match="has stars within"):
        reference_stars(folder, 100, 0, 0.5, None)
    with pytest.raises(CatalogueTooShallow, match="only 30 stars"):
        reference_stars(folder, 10, 0, 0.5, None, at_least=100)


def test_real_tycho_stars_are_read(folder: Path, real_frames: Path) -> None:
    for file in sorted((real_frames / "reference_stars").glob("*.csv")):
        add_catalogue(file, folder, now=NOW)
    stars = reference_stars(folder, 285.97, 35.77, 0.5, 2012.46)
    assert (stars.meta["catalogue"], stars.meta["band"]) == ("tres1", "VT")
    assert len(stars) > 30
