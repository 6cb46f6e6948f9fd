"""With the real programs of astrometry.net, where they are installed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.astrometry import Field, Observation

from toros.catalogues.astrometry_net import build_index, find_programs, solve_blind
from toros.errors import BadParameters, NoCatalogue, NoPlateSolution, ProgramMissing, TooFewStars
from toros.science.plate import Hint, solve_plate

SCENE = Observation((1024, 1024), 1.2, density=2.0, noise=0.05, bend=0.0, mirrored=None, radius=0.6)

installed = pytest.mark.skipif(
    not (shutil.which("solve-field") and shutil.which("build-astrometry-index")),
    reason="astrometry.net is not installed",
)


@pytest.fixture(scope="module")
def field() -> Field:
    return SCENE.take(1)


@pytest.fixture(scope="module")
def indexes(field: Field, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("build-astrometry-index"):
        pytest.skip("astrometry.net is not installed")
    folder = tmp_path_factory.mktemp("sky") / "indexes"
    made = build_index(field.stars, folder, 1024 * 1.2 / 3600)
    assert sorted(folder.iterdir()) == made
    return folder


@installed
@pytest.mark.parametrize("hinted", [False, True])
def test_a_blind_solution_is_a_hint_that_is_refined(
    field: Field, indexes: Path, tmp_path: Path, hinted: bool
) -> None:
    hint = field.hint if hinted else None
    wcs = solve_blind(field.x, field.y, field.flux, field.shape, indexes, tmp_path, hint)
    errors = field.errors(wcs)
    assert np.abs(errors).max() < 2
    assert np.abs(errors.mean(axis=0)).max() < 0.3, "pixels counted from one would be off by one"
    assert list(tmp_path.iterdir()) == []
    ra, dec = wcs.wcs.crval
    refined = solve_plate(
        field.x, field.y, field.flux, field.stars, field.shape, Hint(ra, dec, 0.02, SCENE.scale)
    )
    assert np.abs(field.errors(refined.wcs)).max() < 0.1


@installed
def test_a_frame_of_ghosts_is_not_solved(indexes: Path, field: Field, tmp_path: Path) -> None:
    x, y = np.random.default_rng(1).uniform(0, 1024, (2, 60))
    with pytest.raises(NoPlateSolution, match="60 detections"):
        solve_blind(x, y, np.arange(60.0), field.shape, indexes, tmp_path, field.hint)


@installed
def test_a_search_that_takes_too_long_is_ended(indexes: Path, field: Field, tmp_path: Path) -> None:
    with pytest.raises(NoPlateSolution, match="did not end within"):
        solve_blind(field.x, field.y, field.flux, field.shape, indexes, tmp_path, timeout=0.01)
    assert list(tmp_path.iterdir()) == []


@installed
def test_what_cannot_be_searched_is_refused(indexes: Path, field: Field, tmp_path: Path) -> None:
    with pytest.raises(NoCatalogue, match="no astrometry"):
        solve_blind(field.x, field.y, field.flux, field.shape, tmp_path, tmp_path)
    with pytest.raises(TooFewStars, match="0 detections"):
        solve_blind(field.x * np.nan, field.y, field.flux, field.shape, indexes, tmp_path)
    with pytest.raises(BadParameters):
        build_index(field.stars, tmp_path, 0.0)
    with pytest.raises(NoCatalogue, match="cannot make an index"):
        build_index(field.stars[:0], tmp_path, 0.3)


def test_a_missing_program_says_how_to_get_it(
    field: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="apt-get install"):
        find_programs()
    with pytest.raises(ProgramMissing):
        solve_blind(field.x, field.y, field.flux, field.shape, tmp_path, tmp_path, replace(field.hint))
