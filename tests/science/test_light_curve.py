"""Sources of many frames become objects, and objects have light curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from astropy.table import Table, vstack

from toros.errors import TooFewFrames, TooFewStars
from toros.science.light_curve import LightCurve, associate, build_light_curve, fit_ensemble

RA, DEC = 359.999, -30.0
DIP = slice(15, 35)


@dataclass
class Series:
    """Frames of one field under a sky that changes; star 0 is the one that is looked at."""

    sources: Table
    offset: np.ndarray
    is_variable: np.ndarray
    star: np.ndarray
    """Which star each source is."""

    def light_curve(self, **options) -> LightCurve:
        return build_light_curve(self.sources, RA, DEC, radius=2.0, **options)


def series(
    seed: int,
    *,
    frames: int = 50,
    stars: int = 80,
    depth: float = 0.0,
    variables: float = 0.1,
    systematic: float = 0.002,
    jitter: float = 0.1,
) -> Series:
    rng = np.random.default_rng(seed)
    ra = RA + rng.uniform(-0.25, 0.25, stars) / np.cos(np.radians(DEC))
    dec = DEC + rng.uniform(-0.25, 0.25, stars)
    mag = rng.uniform(11, 16, stars)
    ra[0], dec[0], mag[0] = RA, DEC, 11.5
    is_variable = rng.random(stars) < variables
    is_variable[0] = False
    amplitude = np.where(is_variable, rng.uniform(0.05, 0.5, stars), 0.0)
    period, phase = rng.uniform(5, 40, stars), rng.uniform(0, 2 * np.pi, stars)
    offset = np.linspace(0, 0.3, frames) + rng.normal(0, 0.03, frames)
    parts, numbers = [], []
    for frame in range(frames):
        true = mag + amplitude * np.sin(2 * np.pi * frame / period + phase) + offset[frame]
        if DIP.start <= frame < DIP.stop:
            true[0] -= 2.5 * np.log10(1 - depth)
        electrons = 60 * 10 ** (-0.4 * (true - 23))
        error = np.sqrt(electrons + 50.0**2)
        flux = electrons + rng.normal(0, error)
        seen = (flux > 5 * error) & (rng.random(stars) < 0.97)
        seen[0] = True
        measured = -2.5 * np.log10(np.where(seen, flux, 1) / 60) + rng.normal(0, systematic, stars)
        part = Table(
            {
                "frame": np.full(stars, frame),
                "ra": (ra + rng.normal(0, jitter / 3600, stars) / np.cos(np.radians(DEC))) % 360,
                "dec": dec + rng.normal(0, jitter / 3600, stars),
                "mag": measured,
                "mag_err": 1.0857 * error / electrons,
                "flagged": np.zeros(stars, bool),
            }
        )
        parts.append(part[seen])
        numbers.append(np.flatnonzero(seen))
    return Series(vstack(parts), offset, is_variable, np.concatenate(numbers))


def depth_of(curve: LightCurve) -> tuple[float, float]:
    """Fit a box where the dip is: depth and standard error."""
    points = curve.points
    inside = (points["frame"] >= DIP.start) & (points["frame"] < DIP.stop)
    weight = 1 / np.asarray(points["flux_err"]) ** 2
    low, high = (np.average(points["flux"][part], weights=weight[part]) for part in (inside, ~inside))
    return 1 - low / high, float(np.sqrt(1 / weight[inside].sum() + 1 / weight[~inside].sum()))


# ------------------------------------------------------------------------------------------ association


def test_sources_of_a_star_are_one_object_even_across_right_ascension_zero() -> None:
    sky = series(1)
    objects = associate(sky.sources["frame"], sky.sources["ra"], sky.sources["dec"], 2.0)
    pairs = set(zip(sky.star.tolist(), objects.tolist(), strict=True))
    assert len(pairs) == len(set(sky.star.tolist())) == len(set(objects.tolist()))


def test_an_object_has_one_source_in_a_frame_the_nearest() -> None:
    frame = [0, 0, 1, 1, 2]
    dec = np.array([0.0, 10.0, 0.3, 1.0, 10.2]) / 3600
    assert associate(frame, np.zeros(5), dec, 2.0).tolist() == [0, 1, 0, 2, 1]


def test_a_slow_drift_of_the_solution_does_not_tear_an_object_apart() -> None:
    dec = np.linspace(0, 1.5, 40) / 3600
    assert set(associate(np.arange(40), np.full(40, 10.0), dec, 1.0).tolist()) == {0}


def test_objects_at_the_pole_are_told_apart() -> None:
    ra = np.array([0.0, 90.0, 180.0, 0.5, 90.5, 180.5])
    assert associate([0, 0, 0, 1, 1, 1], ra, np.full(6, 90 - 10 / 3600), 2.0).tolist() == [0, 1, 2, 0, 1, 2]


def test_no_sources_are_no_objects() -> None:
    assert associate([], [], [], 2.0).size == 0


# --------------------------------------------------------------------------------------------- ensemble


def test_the_offsets_of_the_frames_are_found_with_an_honest_error() -> None:
    pulls = []
    for seed in range(12):
        sky = series(seed)
        points = sky.light_curve().points
        off = np.asarray(points["offset"]) - sky.offset[points["frame"]]
        pulls.append((off - np.median(off)) / points["offset_err"])
    assert 0.7 < np.std(pulls) < 1.3


def test_variables_are_no_comparison_stars() -> None:
    sky = series(3, stars=150, variables=0.2, frames=30)
    chosen = np.asarray(sky.light_curve().comparison["dec"])
    first = [np.flatnonzero(sky.star == star)[0] for star in np.flatnonzero(sky.is_variable)]
    variables = np.asarray(sky.sources["dec"][first])
    taken = np.abs(variables - chosen[:, np.newaxis]).min(axis=0) < 0.5 / 3600
    assert taken.mean() < 0.1
    assert len(chosen) > 60


def test_a_star_is_never_measured_against_itself() -> None:
    """With two comparison stars, one of them steady by itself, no weight runs away."""
    rng = np.random.default_rng(5)
    errors = np.full((200, 3), 0.01)
    magnitudes = 12 + rng.normal(0, 0.01, (200, 3))
    ensemble = fit_ensemble(magnitudes, errors, np.ones(3, bool))
    assert ensemble.is_comparison.all()
    assert ensemble.scatter == pytest.approx(0.01 * np.sqrt(1.5), rel=0.15)
    assert np.median(ensemble.error) == pytest.approx(0.01 / np.sqrt(3), rel=0.1)


# ---------------------------------------------------------------------------------------- light curves


def test_a_dip_of_2_percent_over_50_frames_is_recovered() -> None:
    depth, error = depth_of(series(7, depth=0.02).light_curve())
    assert depth == pytest.approx(0.02, abs=0.0025)
    assert error < 0.001


def test_the_error_of_a_dip_is_honest() -> None:
    found = np.array([depth_of(series(seed, depth=0.02, frames=40).light_curve()) for seed in range(40)])
    pull = (found[:, 0] - 0.02) / found[:, 1]
    assert abs(pull.mean()) < 0.6
    assert 0.65 < pull.std() < 1.4


def test_the_curve_is_flat_through_clouds() -> None:
    sky = series(8)
    curve = sky.light_curve()
    assert len(curve.points) == 50
    assert curve.scatter < 0.004
    assert np.std(curve.points["flux"]) < 0.004
    assert np.ptp(sky.offset) > 0.25
    assert (curve.ra, curve.dec) == pytest.approx((RA, DEC), abs=0.1 / 3600)
    assert curve.magnitude == pytest.approx(
        -2.5 * np.log10(10 ** (-0.4 * (11.5 - 23))) + np.median(sky.offset), abs=0.02
    )


def test_frames_without_the_star_have_no_point() -> None:
    sky = series(9)
    sky.sources.remove_rows(np.flatnonzero((sky.star == 0) & (sky.sources["frame"] % 5 == 0)))
    assert sky.light_curve().points["frame"].tolist() == [f for f in range(50) if f % 5]


def test_flagged_sources_are_no_comparison_and_are_shown_as_flagged() -> None:
    sky = series(10)
    bad = sky.sources["frame"] == 20
    sky.sources["mag"][bad & (sky.star > 0)] += np.random.default_rng(1).normal(
        0, 3, (bad & (sky.star > 0)).sum()
    )
    sky.sources["flagged"][bad & (sky.star % 2 == 0)] = True
    sky.sources["flagged"][bad & (sky.star % 2 == 1)] = True
    sky.sources["flagged"][bad & (sky.star == 1)] = False
    curve = sky.light_curve()
    points = curve.points
    assert points["flagged"].tolist() == [frame == 20 for frame in points["frame"]]
    assert max(points["n_comparison"][points["frame"] == 20], default=0) <= 1


def test_nothing_there_is_said_with_the_nearest_star() -> None:
    sky = series(11)
    with pytest.raises(TooFewFrames, match=r"the nearest is \d"):
        build_light_curve(sky.sources, RA, DEC + 20 / 3600, radius=2.0)
    with pytest.raises(TooFewFrames):
        build_light_curve(sky.sources[:0], RA, DEC)


def test_a_star_alone_has_no_light_curve() -> None:
    sky = series(12)
    with pytest.raises(TooFewStars, match="comparison"):
        build_light_curve(sky.sources[sky.star == 0], RA, DEC)


def test_a_single_frame_gives_a_single_point() -> None:
    sky = series(13)
    points = build_light_curve(sky.sources[sky.sources["frame"] == 0], RA, DEC).points
    assert (len(points), points["flux"][0]) == (1, 1.0)
    assert points["mag_err"][0] > 0
