"""The grid of a field finds room for all its frames, wherever on the sky it is."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from toros.errors import BadParameters
from toros.science.field_grid import field_grid

SHAPE = (90, 120)
SCALE = 1.2 / 3600
CENTRES = [(75.0, -25.0), (0.0, 10.0), (359.9999, -60.0), (200.0, 89.9), (10.0, -90.0)]


def solution(
    centre: tuple[float, float],
    offset: tuple[float, float] = (0.0, 0.0),
    *,
    angle: float = 0.0,
    mirrored: bool = False,
) -> WCS:
    """A frame so many pixels from the centre, turned by an angle (degrees)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = list(centre)
    wcs.wcs.crpix = [(SHAPE[1] + 1) / 2 - offset[0], (SHAPE[0] + 1) / 2 - offset[1]]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    east = 1.0 if mirrored else -1.0
    wcs.wcs.cd = SCALE * np.array([[east * cosine, east * sine], [-sine, cosine]])
    wcs.wcs.set()
    return wcs


def corners_on(grid: WCS, wcs: WCS) -> np.ndarray:
    """Return where the outermost corners of a frame's pixels are on a grid, shape (4, 2)."""
    corners = np.array(
        [(-0.5, -0.5), (SHAPE[1] - 0.5, -0.5), (SHAPE[1] - 0.5, SHAPE[0] - 0.5), (-0.5, SHAPE[0] - 0.5)]
    )
    return grid.all_world2pix(wcs.all_pix2world(corners, 0), 0)  # fmt: skip


@pytest.mark.parametrize("centre", CENTRES)
def test_every_corner_of_every_frame_is_on_the_grid(centre: tuple[float, float]) -> None:
    frames = [
        solution(centre, offset, angle=angle) for offset, angle in (((0, 0), 0), ((9, -7), 2), ((-8, 12), -1))
    ]
    grid, (rows, columns) = field_grid(centre, [(wcs, SHAPE) for wcs in frames])
    places = np.concatenate([corners_on(grid, wcs) for wcs in frames])
    low, high = places.min(axis=0), places.max(axis=0)
    assert (low >= -1e-6).all()
    assert (high <= np.array([columns, rows]) - 1 + 1e-6).all()
    assert (low < 1.01).all(), "and there is hardly more room than is needed"
    assert (high > np.array([columns, rows]) - 2.01).all()
    assert grid.pixel_shape == (columns, rows)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize(("angle", "mirrored"), [(0.0, False), (30.0, False), (180.0, False), (75.0, True)])
def test_scale_and_direction_are_those_of_the_first_frame(
    centre: tuple[float, float], angle: float, mirrored: bool
) -> None:
    first, second = solution(centre, angle=angle, mirrored=mirrored), solution(centre, (5, 5), angle=40)
    grid, _ = field_grid(centre, [(first, SHAPE), (second, SHAPE)])
    assert grid.pixel_scale_matrix == pytest.approx(first.pixel_scale_matrix)
    assert proj_plane_pixel_scales(grid) == pytest.approx([SCALE, SCALE])
    x, y = grid.all_world2pix(*first.all_pix2world([10.0, 80.0], [20.0, 40.0], 0), 0)
    assert (np.diff(x)[0], np.diff(y)[0]) == pytest.approx((70.0, 20.0), abs=1e-3)


def test_the_grid_touches_the_sky_at_the_centre_of_the_field() -> None:
    centre = (75.0, -25.0)
    grid, _ = field_grid(centre, [(solution(centre, (30, 10)), SHAPE)])
    assert grid.wcs.crval.tolist() == list(centre)
    assert (grid.wcs.radesys, list(grid.wcs.ctype), grid.sip) == ("ICRS", ["RA---TAN", "DEC--TAN"], None)


def test_a_frame_that_strayed_does_not_make_the_grid_huge() -> None:
    centre = (75.0, -25.0)
    frames = [(solution(centre), SHAPE), (solution(centre, (5000, 300)), SHAPE)]
    _, (rows, columns) = field_grid(centre, frames, widest=1.5)
    assert columns == pytest.approx((0.5 + 0.75) * SHAPE[1], abs=3)
    assert rows == pytest.approx((0.5 + 0.75) * SHAPE[0], abs=3)
    _, wider = field_grid(centre, frames, widest=2.0)
    assert wider[1] == pytest.approx((0.5 + 1.0) * SHAPE[1], abs=3)


def test_a_field_without_frames_is_refused() -> None:
    with pytest.raises(BadParameters):
        field_grid((0.0, 0.0), [])
