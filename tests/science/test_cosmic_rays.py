from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from astroscrappy import detect_cosmics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from toros.errors import BadParameters, NotFinite, WrongGeometry
from toros.science.cosmic_rays import _Frame, find_cosmic_rays
from toros.science.flags import PixelFlag
from toros.sim import Conditions, azulcito, build_detector, camera_wcs, sky_field, take_light, without_flaws
from toros.sim.artefacts import cosmic_rays

SHAPE = (700, 640)
READ_NOISE = 10.0


@dataclass(frozen=True)
class Scene:
    """A simulated frame in electrons with sharp stars, and the charge of the cosmic rays in it."""

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    charge: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """Pixels of tracks that stand out of the noise by 5 sigma."""
        noise = np.sqrt(np.maximum(self.variance - self.charge, 1))
        return (self.charge > 5 * noise) & (self.mask == 0)

    @property
    def elsewhere(self) -> np.ndarray:
        """Pixels that no track comes near."""
        return ~binary_dilation(self.charge > 0, np.ones((3, 3)), iterations=2)


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(1)
    camera = without_flaws(azulcito(SHAPE))
    sources = sky_field(150.0, -30.0, 0.08, density=20.0, seed=2)
    conditions = Conditions(seeing=2.5 * camera.pixel_scale, cosmic_ray_rate=0)
    wcs = camera_wcs(camera, 150.0, -30.0)
    frame = take_light(
        build_detector(camera), sources, wcs, camera.band("R"), 60.0, rng, conditions=conditions
    )
    charge = np.zeros(frame.data.size, np.float32)
    where, electrons = cosmic_rays(SHAPE, camera.pixel_size, 150, rng)
    charge[where] = electrons
    charge = charge.reshape(SHAPE)
    data = (frame.data.astype(np.float32) - np.float32(camera.bias_level)) * np.float32(camera.gain) + charge
    saturated = frame.masks["saturated"]
    assert saturated.any(), "the scene should hold a saturated star"
    return Scene(data, np.maximum(data, 0) + READ_NOISE**2, saturated * np.uint8(PixelFlag.SATURATED), charge)


def blank(shape: tuple[int, int] = (60, 70), sky: float = 400.0) -> tuple[np.ndarray, np.ndarray]:
    """An empty sky, and its variance."""
    data = np.random.default_rng(3).normal(sky, np.sqrt(sky + READ_NOISE**2), shape).astype(np.float32)
    return data, np.maximum(data, 0) + np.float32(READ_NOISE**2)


def test_the_tracks_are_found_and_nothing_else(scene: Scene) -> None:
    found = find_cosmic_rays(scene.data, scene.variance, scene.mask)
    assert scene.true.sum() > 300
    assert np.count_nonzero(found & scene.true) >= 0.99 * np.count_nonzero(scene.true)
    assert np.count_nonzero(found & scene.elsewhere) <= 1


def test_the_cores_of_sharp_stars_are_spared(scene: Scene) -> None:
    found = find_cosmic_rays(scene.data - scene.charge, scene.variance - scene.charge, scene.mask)
    assert np.count_nonzero(found) <= 1


def test_it_agrees_with_astroscrappy(scene: Scene) -> None:
    theirs, _ = detect_cosmics(
        scene.data,
        inmask=scene.mask != 0,
        sigclip=6.0,
        objlim=5.0,
        gain=1.0,
        readnoise=READ_NOISE,
        satlevel=np.inf,
        niter=1,
        cleantype="medmask",
    )
    ours = find_cosmic_rays(scene.data, scene.variance, scene.mask, iterations=1)
    inside = np.zeros(SHAPE, bool)
    inside[6:-6, 6:-6] = True  # it leaves the rim out, and takes some stars near it for cosmic rays
    ours, theirs = ours & inside & ~scene.elsewhere, theirs & inside & ~scene.elsewhere
    assert np.count_nonzero(theirs) > 300
    assert np.count_nonzero(ours & theirs) >= 0.97 * np.count_nonzero(ours | theirs)
    assert np.count_nonzero(ours & theirs & scene.true) >= 0.99 * np.count_nonzero(theirs & scene.true)


@given(seed=st.integers(0, 10_000), gradient=st.floats(0, 1), sigma_clip=st.sampled_from([4.5, 6.0]))
@settings(deadline=None, max_examples=25)
def test_looking_at_candidates_only_loses_nothing(seed: int, gradient: float, sigma_clip: float) -> None:
    rng = np.random.default_rng(seed)
    sky = 300 * (1 + gradient * np.linspace(-0.9, 5, 130)) * np.ones((70, 1))
    data = rng.poisson(sky).astype(np.float32)
    data[rng.random(data.shape) < 0.01] += rng.exponential(500)
    frame = _Frame(data, data + np.float32(READ_NOISE**2), None)
    everywhere = np.flatnonzero(frame.usable)
    candidates = frame.candidates(sigma_clip)
    assert candidates.size < 0.3 * everywhere.size
    np.testing.assert_array_equal(
        frame.peaks(candidates, sigma_clip, 5.0), frame.peaks(everywhere, sigma_clip, 5.0)
    )


@pytest.mark.parametrize("pixel", [(0, 0), (0, 30), (59, 69), (31, 0), (1, 68)])
def test_a_hit_at_the_edge_is_found(pixel: tuple[int, int]) -> None:
    data, variance = blank()
    data[pixel] += 3000
    assert np.argwhere(find_cosmic_rays(data, variance, sigma_fraction=1)).tolist() == [list(pixel)]


def test_a_broad_hit_is_eaten_up_from_its_edges() -> None:
    data, variance = blank()
    data[20:24, 30:34] += 8000
    hit = data > 4000
    first = find_cosmic_rays(data, variance, iterations=1)
    assert not first[hit].all()
    np.testing.assert_array_equal(find_cosmic_rays(data, variance, iterations=8)[hit], True)


def test_a_faint_hit_in_the_dark_corner_of_a_vignetted_frame_is_found() -> None:
    """The variance, not a number for the whole frame, says what stands out."""
    flat = np.linspace(0.1, 1, 400)[np.newaxis] * np.ones((60, 1))
    data = np.random.default_rng(4).poisson(2000 * flat).astype(np.float32)
    data[30, 20] += 700
    data[30, 380] += 200
    found = find_cosmic_rays(data, data + np.float32(4), sigma_fraction=1)
    assert np.argwhere(found).tolist() == [[30, 20]]


def test_flagged_pixels_are_not_reported_and_do_not_accuse_their_neighbours() -> None:
    data, variance = blank(sky=3000)
    mask = np.zeros(data.shape, np.uint8)
    data[10, 10], mask[10, 10] = 60000, PixelFlag.HOT
    data[:, 40], mask[:, 40] = 0, PixelFlag.DEAD
    data[40:, :20], mask[40:, :20] = 0, PixelFlag.NO_DATA
    assert find_cosmic_rays(data, variance).any(), "it is the mask that saves them"
    assert not find_cosmic_rays(data, variance, mask).any()
    data[20, 41] += 4000
    data[10, 11] += 4000
    assert np.argwhere(find_cosmic_rays(data, variance, mask, sigma_fraction=1)).tolist() == [
        [10, 11],
        [20, 41],
    ]


def test_a_saturated_star_and_its_trail_are_spared() -> None:
    data, variance = blank((120, 120))
    y, x = np.mgrid[-60:60, -60:60]
    data += np.minimum(3e5 * (1 + (x**2 + y**2) / 4) ** -3, 90000)
    data[20:101, 59:62] = 90000
    data[19, 60] = 45000
    mask = (data >= 90000) * np.uint8(PixelFlag.SATURATED)
    variance = np.maximum(data, 0) + np.float32(READ_NOISE**2)
    assert find_cosmic_rays(data, variance).any()
    assert not find_cosmic_rays(data, variance, mask).any()


def test_a_frame_without_a_single_good_pixel_has_no_cosmic_rays() -> None:
    data, variance = blank()
    assert not find_cosmic_rays(data, variance, np.full(data.shape, PixelFlag.NO_DATA, np.uint8)).any()


def test_the_frame_is_left_as_it_was(scene: Scene) -> None:
    before = scene.data.copy()
    find_cosmic_rays(scene.data, scene.variance, scene.mask)
    np.testing.assert_array_equal(scene.data, before)


def test_what_cannot_be_searched_is_refused() -> None:
    data, variance = blank()
    with pytest.raises(WrongGeometry, match="variance"):
        find_cosmic_rays(data, variance[1:])
    with pytest.raises(WrongGeometry, match="too small"):
        find_cosmic_rays(data[:4], variance[:4])
    with pytest.raises(BadParameters):
        find_cosmic_rays(data, variance, sigma_clip=0)
    data[3, 3] = np.nan
    with pytest.raises(NotFinite):
        find_cosmic_rays(data, variance)
