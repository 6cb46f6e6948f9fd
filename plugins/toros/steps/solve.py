"""Solve: where a calibrated frame points. The plate solution becomes a row, and a new version of the frame has it."""

from __future__ import annotations

import datetime as dt
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from astropy import units
from astropy.io import fits
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.catalogues import open_catalogues, reference_stars
from toros.caveats import Caveat
from toros.errors import NoCatalogue, NoPlateSolution, NoPointing, TooFewStars, Unprocessable
from toros.models import Astrometry, Pawprint, StepRun
from toros.models.base import HEALPIX_ORDER
from toros.science.detect import Stars, find_stars
from toros.science.healpix import cells_of
from toros.science.picture import draw_frame, encode_png
from toros.science.plate import Hint, PlateSolution, solve_plate
from toros.steps.blind import BlindSolver
from toros.steps.frames import Frame, epoch_of, read_frame
from toros.steps.load import split_name
from toros.steps.pointing import (
    Attempt,
    Pointing,
    pointing_of_header,
    pointings_of,
    pointings_of_catalogues,
    proven_scale,
    scale_of,
)
from toros.steps.send_back import BY_HAND
from toros.steps.step import Parameters, ProductFile, Step, Work
from toros.store import fits_file
from toros.store.fits_writer import FrameWriter, ccd_planes

POINTING_RADIUS = 0.5
"""Degrees by which a telescope may miss the place that it was told."""

STARS_OF_ANY_SCALE = 6000
"""So many of the brightest are compared at any scale: the search takes long enough with these."""

WCS_CARDS = re.compile(
    r"((WCSAXES|WCSNAME|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|MJDREF[IF]?"
    r"|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|LTV)\d+|(CD|PC|PV|PS|LTM)\d+_\d+|(CD|PC)\d{6})[A-Z]?"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+))$"
)
"""Cards of an older WCS; a new one takes the place of them all."""


@dataclass(frozen=True)
class Rows:
    """A calibrated frame as plain values."""

    frame: ProductFile
    name: str
    night: dt.date
    epoch: float
    """Julian year."""
    pointings: tuple[Pointing, ...]
    scale: float | None
    """Arcsec per pixel, as far as it is believed."""


@dataclass(frozen=True)
class Inputs:
    """A calibrated frame with its pixels, and where it may point."""

    rows: Rows
    frame: Frame
    attempts: tuple[Attempt, ...]
    blind: BlindSolver | None
    """Where it may be asked, when nothing else leads to a solution."""


@dataclass(frozen=True)
class Result:
    """A frame with its plate solution."""

    inputs: Inputs
    solution: PlateSolution
    attempt: Attempt


class SolveFrame(Step[Rows, Inputs, Result]):
    """What the three ways to a plate solution have in common: only what is believed before differs."""

    takes = Pawprint
    to_state = "wcs_solved"

    @abstractmethod
    def pointings(self, session: Session, item: Pawprint) -> tuple[Pointing, ...]:
        """Say where the frame may point, the best hint first."""

    def further(self, rows: Rows, frame: Frame, work: Work) -> tuple[Pointing, ...]:  # noqa: ARG002
        """Say what files add to that; by default nothing."""
        return ()

    def last_resort(self, rows: Rows, work: Work) -> BlindSolver | None:  # noqa: ARG002
        """Return who is asked without any hint; by default nobody."""
        return None

    def query(self, session: Session, item: Pawprint, work: Work) -> Rows:  # noqa: ARG002
        return Rows(
            ProductFile.newest(session, item, "calibrated"),
            item.name,
            item.night,
            epoch_of(item),
            self.pointings(session, item),
            scale_of(session, item),
        )

    def extract(self, rows: Rows, work: Work) -> Inputs:
        frame = read_frame(work.open(rows.frame))
        pointings = (*rows.pointings, *self.further(rows, frame, work))
        blind = self.last_resort(rows, work)
        if not pointings and blind is None:
            raise NoPointing(
                f"{rows.name}: neither its header nor a frame taken before tells where it points"
            )
        return Inputs(
            rows,
            frame,
            _attempts(pointings, rows.epoch, max(frame.data.shape), work),
            blind,
        )

    def transform(self, inputs: Inputs) -> Result:
        height, width = inputs.frame.data.shape
        stars = find_stars(inputs.frame.data, inputs.frame.mask)
        refused: Unprocessable | None = None
        last_resort = inputs.blind.attempts(stars, (height, width)) if inputs.blind else ()
        for attempt in chain(inputs.attempts, last_resort):
            try:
                solution = _solve(stars, attempt, (height, width))
            except (NoPlateSolution, TooFewStars) as error:
                refused = refused or error
            else:
                return Result(inputs, solution, attempt)
        raise refused or NoPlateSolution(f"{inputs.rows.name}: nothing to try")

    def write(self, result: Result, work: Work) -> None:
        rows, solution = result.inputs.rows, result.solution
        stem, _ = split_name(rows.name)
        caveats = [Caveat(caveat) for caveat in rows.frame.caveats]
        path = work.stage(
            "calibrated", rows.night, f"{stem}-wcs", ".fits", caveats=caveats, inputs=(rows.frame.id,)
        )
        header = _header(result, work.run_id)
        frame = result.inputs.frame
        shape = frame.data.shape
        with FrameWriter(path, ccd_planes(shape, units.electron, header, has_uncertainty=False)) as writer:
            writer.write("DATA", 0, frame.data)
            writer.write("MASK", 0, frame.mask)
        work.measure("astrometric_rms", solution.rms, "arcsec")
        work.measure("astrometric_stars", solution.n_stars)
        if result.attempt.pointing.method == "header":
            work.measure("pointing_offset", solution.offset / 60, "arcmin")

    def load(self, session: Session, item: Pawprint, result: Result, work: Work) -> None:
        solution = result.solution
        ra, dec = solution.centre
        session.add(
            Astrometry(
                pawprint_id=item.id,
                steprun_id=work.run_id,
                ra=ra,
                dec=dec,
                healpix=int(cells_of(ra, dec, HEALPIX_ORDER)),
                pixel_scale=solution.scale,
                rotation=solution.rotation,
                mirrored=solution.mirrored,
                rms=solution.rms,
                n_stars=solution.n_stars,
                offset=solution.offset,
                sip_order=solution.order,
                method=result.attempt.pointing.method,
                catalogue=result.attempt.catalogue,
            )
        )


class Solve(SolveFrame):
    """Match the stars of a frame with those of the catalogue around the place that the telescope was told."""

    name = "solve"
    version = "1"
    from_state = "preprocessed_data"
    error_state = "failed_wcs_solve"
    groups = ("science",)

    def pointings(self, session: Session, item: Pawprint) -> tuple[Pointing, ...]:
        return pointings_of(session, item, POINTING_RADIUS)

    def further(self, rows: Rows, frame: Frame, work: Work) -> tuple[Pointing, ...]:  # noqa: ARG002
        return pointing_of_header(frame.header, frame.data.shape, POINTING_RADIUS)


class RetrySolveParameters(Parameters):
    """How far to look."""

    radius: float = Field(default=2.0, gt=0, le=30)
    """Degrees around every place that the frame may show."""


class RetrySolve(SolveFrame):
    """Look once more, in a wider field and at any scale; a catalogue of a single field is a hint in itself.

    The last resort is astrometry.net, where it is installed and a catalogue was indexed.
    """

    name = "retry_solve"
    version = "1"
    from_state = "failed_wcs_solve"
    error_state = "failed_wcs_retry"
    Parameters = RetrySolveParameters
    groups = ("science",)

    def pointings(self, session: Session, item: Pawprint) -> tuple[Pointing, ...]:
        return pointings_of(session, item, POINTING_RADIUS)  # a frame beside it may have been solved since

    def further(self, rows: Rows, frame: Frame, work: Work) -> tuple[Pointing, ...]:
        written = pointing_of_header(frame.header, frame.data.shape, POINTING_RADIUS)
        doubts = (
            doubt
            for pointing in (*rows.pointings, *written)
            for doubt in pointing.doubted(self.parameters.radius)
        )
        fields = pointings_of_catalogues(open_catalogues(work.settings.catalogues), rows.scale)
        return (*doubts, *fields)

    def last_resort(self, rows: Rows, work: Work) -> BlindSolver | None:
        return BlindSolver.available(work.settings.catalogues, work.scratch("blind"), rows.epoch)


@dataclass(frozen=True)
class Unplaced:
    """A frame that no hint has placed on the sky, and why."""

    frame: ProductFile
    title: str
    stem: str
    night: dt.date
    reason: str


class Review(Step[Unplaced, Unplaced, Unplaced]):
    """Put a frame that no hint has placed on the list for a person, with the reason, and with a picture to look at."""

    name = "review"
    version = "1"
    takes = Pawprint
    from_state = "failed_wcs_retry"
    to_state = "wcs_review"
    groups = ("science",)

    def query(self, session: Session, item: Pawprint, work: Work) -> Unplaced:  # noqa: ARG002
        last = session.scalar(
            select(StepRun.error_message)
            .where(StepRun.item_id == item.id, StepRun.status == "failed")
            .order_by(StepRun.id.desc())
            .limit(1)
        )
        return Unplaced(
            ProductFile.newest(session, item, "calibrated"),
            f"{item.name}  {item.filter or ''}  {item.exptime:g} s",
            split_name(item.name)[0],
            item.night,
            last or "",
        )

    def write(self, result: Unplaced, work: Work) -> None:
        frame = work.open(result.frame)
        data, mask = fits_file.inspect(frame).rows(), fits_file.inspect(frame, "MASK").rows()
        picture = work.stage("picture", result.night, result.stem, ".png", inputs=(result.frame.id,))
        picture.write_bytes(encode_png(draw_frame(data, mask, title=result.title)))
        work.leave(self.to_state, result.reason)


class HandSolveParameters(Parameters):
    """What a person knows."""

    ra: float = Field(ge=0, lt=360)
    """Degrees, ICRS."""
    dec: float = Field(ge=-90, le=90)
    radius: float = Field(default=0.5, gt=0, le=30)
    """Degrees by which that may be wrong."""
    scale: float | None = Field(default=None, gt=0)
    """Arcsec per pixel; by default that of other frames of this camera, or any."""


class HandSolve(SolveFrame):
    """Solve a frame of the review list with the hint of a person."""

    name = "solve_by_hand"
    version = "1"
    from_state = "wcs_review"
    error_state = "wcs_review"
    Parameters = HandSolveParameters
    groups = (BY_HAND,)

    def pointings(self, session: Session, item: Pawprint) -> tuple[Pointing, ...]:
        given = self.parameters
        scale = given.scale or proven_scale(session, item)
        return (Pointing("person", Hint(given.ra, given.dec, given.radius, scale)),)


def _attempts(
    pointings: Sequence[Pointing], epoch: float, longer_side: int, work: Work
) -> tuple[Attempt, ...]:
    """Look up the reference stars around each place.

    Raises
    ------
    NoCatalogue
        No place is covered by a catalogue.
    """
    attempts: list[Attempt] = []
    missing: NoCatalogue | None = None
    for pointing in pointings:
        hint = pointing.hint
        reach = hint.radius + (hint.scale or 0.0) * longer_side / 2 / 3600 * 1.5
        try:
            stars = reference_stars(
                work.settings.catalogues,
                hint.ra,
                hint.dec,
                reach,
                epoch,
                limit=None if hint.scale else STARS_OF_ANY_SCALE,
            )
        except NoCatalogue as error:
            missing = missing or error
        else:
            attempts.append(Attempt(pointing, stars, str(stars.meta["catalogue"])))
    if not attempts and missing is not None:
        raise missing
    return tuple(attempts)


def _solve(stars: Stars, attempt: Attempt, shape: tuple[int, int]) -> PlateSolution:
    return solve_plate(stars.x, stars.y, stars.flux, attempt.stars, shape, attempt.pointing.hint)


def _header(result: Result, run_id: int) -> fits.Header:
    """Return the header of the frame with the new WCS in the place of any other."""
    header = result.inputs.frame.header.copy(strip=True)
    for keyword in {keyword for keyword in header if WCS_CARDS.match(keyword)}:
        header.remove(keyword, remove_all=True)
    solution = result.solution
    header.update(solution.wcs.to_header(relax=True))
    header["ASTRRMS"] = (solution.rms, "[arcsec] residual of the plate solution")
    header["ASTRNSTA"] = (solution.n_stars, "stars of the plate solution")
    header["ASTRCAT"] = (result.attempt.catalogue, "reference catalogue")
    header["STEPRUN"] = (run_id, "run that made this file")
    header.add_history(f"plate solution from {result.inputs.rows.frame.path}")
    return header
