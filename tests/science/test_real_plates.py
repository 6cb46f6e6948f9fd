"""Frames of real cameras and real stars, against what astrometry.net says of the same frames."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from toros.errors import NoPlateSolution, TooFewStars
from toros.science.plate import Hint, PlateSolution, solve_plate
from toros.store.fits_file import inspect


def tycho(folder: Path, name: str) -> Table:
    stars = Table.read(folder / "reference_stars" / f"{name}.csv")
    stars.rename_columns(["ra_deg", "dec_deg", "vt_mag"], ["ra", "dec", "mag"])
    return stars


@cache
def detections(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """x, y and flux of what sep finds; the four colours of a Bayer cell are one pixel to it."""
    image = inspect(path)
    data = np.asarray(image.rows()[:], np.float32)
    cell = 2 if "BAYERPAT" in image.header else 1
    binned = data.reshape(data.shape[0] // cell, cell, -1, cell).mean(axis=(1, 3))
    background = sep.Background(binned)
    found = sep.extract(binned - background.back(), 5, err=background.globalrms)
    x, y = (cell * (found[axis] + 0.5) - 0.5 for axis in "xy")
    return x, y, found["flux"], (data.shape[0], data.shape[1])


def solve(folder: Path, frame: str, stars: str, hint: Hint) -> PlateSolution:
    [path] = folder.glob(frame)
    x, y, flux, shape = detections(path)
    return solve_plate(x, y, flux, tycho(folder, stars), shape, hint)


def grid(wcs: WCS) -> np.ndarray:
    width, height = wcs.pixel_shape
    return np.stack(np.meshgrid(np.linspace(0, width - 1, 12), np.linspace(0, height - 1, 12)), -1).reshape(
        -1, 2
    )


def sky(wcs: WCS, pixels: np.ndarray) -> SkyCoord:
    return SkyCoord(wcs.all_pix2world(pixels, 0), unit="deg")


def astrometry_net(folder: Path, name: str) -> WCS:
    header = fits.Header.fromstring((folder / "wcs" / name).read_bytes())
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, header["IMAGEW"], header["IMAGEH"]
    return WCS(header)


@pytest.mark.parametrize(
    ("frame", "stars", "truth", "hint"),
    [
        ("sa112/SA112-SF1-001R1*", "sa112", "sa112_R.wcs", Hint(310.604, 0.136, 0.5, 1.12)),
        ("seestar_ngc7023/*20240730-224436*", "ngc7023", "n7023_2024.wcs", Hint(315.5, 68.2, 0.5, 2.39)),
        ("seestar_ngc7023/*20250630-023420*", "ngc7023", "n7023_2025.wcs", Hint(315.5, 68.2, 0.5, 2.39)),
    ],
)
def test_a_real_frame_is_where_astrometry_net_says(
    real_frames: Path, frame: str, stars: str, truth: str, hint: Hint
) -> None:
    solution = solve(real_frames, frame, stars, hint)
    theirs = astrometry_net(real_frames, truth)
    pixels = grid(theirs)
    assert np.median(sky(solution.wcs, pixels).separation(sky(theirs, pixels)).arcsec) < 0.5
    assert solution.mirrored
    assert solution.rms < 0.5


def test_a_mount_that_drifts_passes_where_astrometry_net_says(real_frames: Path) -> None:
    """Frame 50 was solved by astrometry.net; there are frames 49 and 53, a minute between any two."""
    hint = Hint(286.02, 36.67, 0.5, 2.37)
    theirs = astrometry_net(real_frames, "tres1-050.wcs")
    pixels = grid(theirs)
    true = sky(theirs, pixels)
    moved = []
    for number in (49, 53):
        solution = solve(real_frames, f"tres1/tres1-0{number}*", "tres1", hint)
        assert solution.mirrored
        east, north = true.spherical_offsets_to(sky(solution.wcs, pixels))
        moved.append((np.median(east.arcsec), np.median(north.arcsec)))
        assert np.median(np.hypot(east.arcsec - moved[-1][0], north.arcsec - moved[-1][1])) < 0.5
    (east_before, north_before), (east_after, north_after) = moved
    assert abs(north_before + (north_after - north_before) / 4) < 0.5, "it drifts evenly in declination"
    assert east_after < 0 < east_before, "and not so evenly in right ascension"


@pytest.mark.parametrize("hint_error", [0.3, 0.5])
def test_a_frame_with_a_dozen_stars_is_found_half_a_degree_away(real_frames: Path, hint_error: float) -> None:
    near = solve(real_frames, "sa112/SA112-SF1-001R1*", "sa112", Hint(310.604, 0.136, 0.5, 1.12))
    far = solve(real_frames, "sa112/SA112-SF1-001R1*", "sa112", Hint(310.604, 0.136 + hint_error, 0.55, 1.12))
    assert SkyCoord(*far.centre, unit="deg").separation(SkyCoord(*near.centre, unit="deg")).arcsec < 0.5


@pytest.mark.parametrize("scale", [None, 0.85, 1.0, 1.2])
def test_a_frame_with_too_few_bright_stars_is_not_solved_at_all(
    real_frames: Path, scale: float | None
) -> None:
    hint = Hint(37.6504, 42.2534, 0.5, scale, 0.15)
    with pytest.raises((TooFewStars, NoPlateSolution)):
        solve(real_frames, "sn2022yid/lights/SN2022yid_10292022-0001_B_180s*", "sn2022yid", hint)


def test_a_frame_is_not_found_among_the_stars_of_another_place(real_frames: Path) -> None:
    stars = tycho(real_frames, "tres1")
    middle = Hint(float(np.mean(stars["ra"])), float(np.mean(stars["dec"])), 0.5, 2.37)
    with pytest.raises((TooFewStars, NoPlateSolution)):
        solve(real_frames, "seestar_ngc7023/*20240730-224436*", "tres1", middle)
