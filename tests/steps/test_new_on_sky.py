"""A field is stacked, becomes its own reference, and what is new on it is found."""

from __future__ import annotations

import datetime as dt
import math
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from astropy.coordinates import SkyCoord, angular_separation
from observing import (
    NIGHT,
    Telescope,
    attempt,
    calibrate_lights,
    knowing,
    make_masters,
    observatory_in,
    run_waiting,
)
from sqlalchemy import select
from starfield import EXPTIME, load_stars, pointing

from small_steps import check, last_run, state_of
from toros.models import (
    Candidate,
    Detection,
    Pawprint,
    PhotometricZeroPoint,
    Reference,
    Source,
    Stack,
)
from toros.sim import Transient, azulcito
from toros.steps import survey_rules
from toros.steps.calibration_rules import read_rules
from toros.steps.choose_reference import ChooseReference
from toros.steps.difference import Difference
from toros.steps.fields import name_of_position
from toros.steps.find_candidates import FindCandidates
from toros.steps.measure import Measure
from toros.steps.pending import items_waiting_for, science_frames
from toros.steps.plan_stacks import PlanStacks
from toros.steps.runner import Runner
from toros.steps.solve import Solve
from toros.steps.stack import Stack as MakeStack
from toros.steps.step import ProductFile
from toros.steps.trace_candidate import TraceCandidate
from toros.store.fits_table import read_table

T = TypeVar("T", Candidate, Detection, Pawprint, Reference)

CAMERA = azulcito((256, 256))
DENSITY = 25.0
SCALE = CAMERA.pixel_scale / 3600
DITHER = ((0, 0), (9, -4), (-7, 6), (3, 11), (-12, -8))
"""Pointings in pixels from the field."""
SUPERNOVA = Transient("SN", 75.003, -24.996, lambda jd: 17.0)
QUIET = dt.timedelta(minutes=10)


@dataclass(frozen=True)
class Observatory:
    """A runner, and the telescope whose frames it gets."""

    runner: Runner
    telescope: Telescope

    @property
    def folder(self) -> Path:
        return self.telescope.inbox.parent

    def observe(self, number: int, transients: tuple[Transient, ...] = ()) -> Counter[str]:
        """Take frames of the field and measure them."""
        for x, y in DITHER[:number]:
            self.telescope.lights(
                EXPTIME,
                density=DENSITY,
                offset=(x * SCALE, y * SCALE),
                transients=transients,
                **pointing(CAMERA),
            )
        calibrate_lights(self.runner)
        return run_waiting(self.runner, Solve, Measure)

    def stack(self) -> Counter[str]:
        later = replace(self.runner, clock=lambda: self.runner.clock() + QUIET)
        return run_waiting(later, PlanStacks, MakeStack, ChooseReference)

    def search(self) -> Counter[str]:
        return run_waiting(self.runner, Difference, FindCandidates, TraceCandidate)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """A folder with masters, the catalogue, and five measured frames."""
    folder = tmp_path_factory.mktemp("prepared") / "night"
    folder.mkdir()
    shutil.copyfile(sqlite_template, folder / "toros.db")
    runner = knowing(observatory_in(folder), CAMERA)
    telescope = Telescope(CAMERA, folder / "inbox")
    telescope.bias(5)
    telescope.darks(EXPTIME, 5)
    telescope.flats(5)
    assert make_masters(runner)["master_accepted"] == 3
    load_stars(runner, CAMERA, density=DENSITY)
    assert Observatory(runner, telescope).observe(5) == {"wcs_solved": 5, "measured": 5}
    return folder


@pytest.fixture(scope="module")
def with_reference(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder when the frames were stacked."""
    observatory = _copy(prepared, tmp_path_factory.mktemp("stacked"))
    assert observatory.stack() == {"": 1, "stacked": 1, "reference_chosen": 1}
    return observatory.folder


@pytest.fixture(scope="module")
def searched(with_reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder after a night with a supernova."""
    observatory = _copy(with_reference, tmp_path_factory.mktemp("searched"))
    assert observatory.search()["searched"] == 5
    assert observatory.observe(2, (SUPERNOVA,)) == {"wcs_solved": 2, "measured": 2}
    assert observatory.search()["searched"] == 2
    return observatory.folder


def _copy(folder: Path, to: Path, seed: int = 2) -> Observatory:
    shutil.copytree(folder, to / "night")
    runner = knowing(observatory_in(to / "night"), CAMERA)
    return Observatory(runner, Telescope(CAMERA, to / "night/inbox", seed=seed).next_night())


def _rows(observatory: Observatory, model: type[T]) -> list[T]:
    with observatory.runner.database.read() as session:
        return list(session.scalars(select(model).order_by(model.id)))


def test_a_stack_is_deeper_than_its_frames_and_the_first_one_is_the_reference(
    with_reference: Path, tmp_path: Path
) -> None:
    observatory = _copy(with_reference, tmp_path)
    with observatory.runner.database.read() as session:
        (stack,) = session.scalars(select(Stack))
        limits = session.scalars(select(PhotometricZeroPoint.limiting_magnitude)).all()
        weights = [member.weight for member in stack.members]
        (reference,) = session.scalars(select(Reference))

        assert stack.limiting_magnitude == pytest.approx(
            np.median(limits) + 2.5 * math.log10(5**0.5), abs=0.15
        )
        assert sum(weights) == pytest.approx(1.0)
        assert weights == pytest.approx([0.2] * 5, abs=0.03)
        assert max(member.clipped for member in stack.members) < 1e-3
        assert reference.stack_id == stack.id
        assert reference.valid_until is None
        assert stack.field.name == name_of_position(75.0, -25.0)
    assert check(observatory.runner).violations == ()


def test_magnitudes_in_the_stack_are_those_of_the_catalogue(with_reference: Path, tmp_path: Path) -> None:
    observatory = _copy(with_reference, tmp_path)
    with observatory.runner.database.read() as session:
        (stack,) = session.scalars(select(Stack))
        file = ProductFile.newest(session, stack, "sources")
        frames = session.execute(select(Source.ra, Source.dec, Source.mag).where(Source.snr > 50)).all()
    found = read_table(observatory.runner.store.path(file.path), "SOURCES")
    ra, dec, mag = np.array(frames).T
    near, distance, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(
        SkyCoord(found["ra"].value, found["dec"].value, unit="deg")
    )
    same = distance.arcsec < 0.5
    assert np.median(found["mag"].value[near[same]] - mag[same]) == pytest.approx(0.0, abs=0.01)


def test_a_supernova_is_one_object_with_a_light_curve(searched: Path, tmp_path: Path) -> None:
    observatory = _copy(searched, tmp_path)
    real = [one for one in _rows(observatory, Candidate) if one.predicted == "real"]
    (nova,) = real
    assert angular_separation(*np.radians([nova.ra, nova.dec, SUPERNOVA.ra, SUPERNOVA.dec])) < 1e-6
    assert state_of(observatory.runner, nova.id) == "candidate_traced"
    points = [point for point in _rows(observatory, Detection) if point.candidate_id == nova.id]
    before, after = points[2:], points[:2]
    assert [point.forced for point in points] == [False, False, True, True, True, True, True]
    assert [point.mag for point in after] == pytest.approx([17.0, 17.0], abs=0.05)
    assert all(point.score > 0.9 and point.snr > 50 for point in after)
    assert all(point.mag is None and 21 < point.upper_limit < 22.5 for point in before)
    assert check(observatory.runner).violations == ()


def test_a_constant_sky_has_nothing_real(searched: Path, tmp_path: Path) -> None:
    observatory = _copy(searched, tmp_path)
    with observatory.runner.database.read() as session:
        first_night = select(Pawprint.id).where(Pawprint.night == NIGHT)
        found = session.scalars(
            select(Detection).where(~Detection.forced, Detection.pawprint_id.in_(first_night))
        ).all()
    assert [point for point in found if point.score > 0.5] == []


def test_the_order_in_which_frames_are_searched_does_not_matter(with_reference: Path, tmp_path: Path) -> None:
    found = []
    for name, reverse in (("one", False), ("other", True)):
        observatory = _copy(with_reference, tmp_path / name)
        observatory.observe(2, (SUPERNOVA,))
        runner = observatory.runner
        run_waiting(runner, Difference)
        with runner.database.read() as session:
            waiting = items_waiting_for(session, FindCandidates)
        for frame in sorted(waiting, reverse=reverse):
            assert attempt(runner, FindCandidates(), frame) == "searched"
        run_waiting(runner, TraceCandidate)
        points = _rows(observatory, Detection)
        found.append(sorted((p.pawprint_id, round(p.snr, 1)) for p in points if abs(p.snr) > 20))
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_a_frame_waits_for_the_first_reference_of_its_field(prepared: Path, tmp_path: Path) -> None:
    observatory = _copy(prepared, tmp_path)
    runner = observatory.runner
    frames = [frame.id for frame in _rows(observatory, Pawprint)]

    assert _pending(runner) == []
    assert attempt(runner, Difference(), frames[0]) == "waiting_for_reference"
    assert state_of(runner, frames[0]) == "measured"
    observatory.stack()
    assert _pending(runner) == frames


def test_a_frame_that_comes_late_joins_by_a_new_version(with_reference: Path, tmp_path: Path) -> None:
    observatory = _copy(with_reference, tmp_path)
    late = replace(observatory, telescope=replace(observatory.telescope, night=NIGHT))
    late.observe(1)
    assert late.stack() == {"nothing_to_do": 1}  # what shines in it must be known first
    late.search()

    assert late.stack() == {"": 1, "stacked": 1, "reference_declined": 1}
    assert "the present reference to" in last_run(observatory.runner).why
    assert late.stack() == {"nothing_to_do": 1}
    with observatory.runner.database.read() as session:
        first, second = session.scalars(select(Stack).order_by(Stack.id))
        assert (first.set_key, first.version, second.version) == (second.set_key, 1, 2)
        assert {m.pawprint_id for m in first.members} < {m.pawprint_id for m in second.members}
        assert [reference.stack_id for reference in session.scalars(select(Reference))] == [first.id]


def test_frames_of_two_nights_are_stacked_together_too_but_a_transient_is_no_reference(
    searched: Path, tmp_path: Path
) -> None:
    observatory = _copy(searched, tmp_path, seed=3)
    observatory.observe(3, (SUPERNOVA,))
    observatory.search()

    assert observatory.stack() == {"": 1, "stacked": 2, "reference_declined": 2}
    with observatory.runner.database.read() as session:
        stacks = session.scalars(select(Stack).order_by(Stack.id)).all()
        assert [(stack.night is None, len(stack.members)) for stack in stacks] == [
            (False, 5),
            (False, 5),
            (True, 10),
        ]
    assert "shines in its frames" in last_run(observatory.runner).why


def test_a_deeper_stack_replaces_the_reference(with_reference: Path, tmp_path: Path) -> None:
    observatory = _copy(with_reference, tmp_path)
    observatory.observe(5)
    observatory.search()

    assert observatory.stack() == {"": 1, "stacked": 2, "reference_declined": 1, "reference_chosen": 1}
    old, new = _rows(observatory, Reference)
    assert old.valid_until == new.valid_from
    assert new.valid_until is None


def test_a_difference_of_no_use_goes_no_further(with_reference: Path, tmp_path: Path) -> None:
    observatory = _copy(with_reference, tmp_path)
    limits = tmp_path / "limits.toml"
    limits.write_text("[measures.difference_stars]\nyellow = 3000\norange = 2000\nred = 1000\n")
    runner = replace(observatory.runner, settings=replace(observatory.runner.settings, quality_limits=limits))
    frame = _rows(observatory, Pawprint)[0].id

    assert attempt(runner, Difference(), frame) == "failed_difference"
    assert "difference stars 60 is below 1000" in last_run(runner).why


def test_the_other_method_finds_the_same(with_reference: Path, tmp_path: Path) -> None:
    observatory = _copy(with_reference, tmp_path)
    observatory.observe(1, (SUPERNOVA,))
    rules = tmp_path / "survey.toml"
    shipped = Path(survey_rules.__file__).with_suffix(".toml").read_text()
    rules.write_text(shipped.replace('method = "kernel"', 'method = "zogy"'))
    runner = replace(observatory.runner, settings=replace(observatory.runner.settings, survey_rules=rules))
    frame = _rows(observatory, Pawprint)[-1].id

    assert attempt(runner, Difference(), frame) == "differenced"
    assert attempt(runner, FindCandidates(), frame) == "searched"
    (point,) = [point for point in _rows(observatory, Detection) if point.snr > 20]
    assert point.mag == pytest.approx(17.0, abs=0.1)


def test_an_object_that_appears_meanwhile_makes_the_search_begin_anew(
    with_reference: Path, tmp_path: Path
) -> None:
    observatory = _copy(with_reference, tmp_path)
    observatory.observe(2, (SUPERNOVA,))
    runner = observatory.runner
    run_waiting(runner, Difference)
    with runner.database.read() as session:
        *_, first, second = items_waiting_for(session, FindCandidates)

    class Overtaken(FindCandidates):
        def transform(self, inputs: Any) -> Any:
            assert attempt(runner, FindCandidates(), second) == "searched"
            return super().transform(inputs)

    assert attempt(runner, Overtaken(), first) == "searched"
    (nova,) = [one for one in _rows(observatory, Candidate) if one.predicted == "real"]
    points = [point for point in _rows(observatory, Detection) if point.candidate_id == nova.id]
    assert [(point.pawprint_id, point.forced) for point in points] == [(second, False), (first, False)]


def _pending(runner: Runner) -> list[int]:
    with runner.database.read() as session:
        return science_frames(session, read_rules(), runner.clock())
