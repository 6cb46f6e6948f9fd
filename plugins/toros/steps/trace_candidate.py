"""Trace candidate: how bright a new candidate was on the frames that were taken before it was found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from toros.models import Candidate, Detection, Pawprint, Product
from toros.science.psf import Psf
from toros.science.psf_fit import force_photometry
from toros.steps.detections import DifferencedFrame, forced_detection
from toros.steps.step import ProductFile, Step, Work
from toros.store import fits_file
from toros.store.psf_hdu import read_psf

REACH = 8.0
"""Rows above and below a candidate that are read, in FWHM."""


@dataclass(frozen=True)
class Rows:
    """A candidate, and the differences of its field on which it has not been looked for."""

    ra: float
    dec: float
    frames: tuple[tuple[DifferencedFrame, ProductFile], ...]


@dataclass(frozen=True)
class Strip:
    """Some rows of a difference around the place of a candidate."""

    frame: DifferencedFrame
    place: tuple[float, float]
    """x, y (0-based px) in the whole frame."""
    first_row: int
    data: np.ndarray
    noise: np.ndarray
    mask: np.ndarray
    psf: Psf


@dataclass(frozen=True)
class Point:
    """What was measured on one difference: electron."""

    strip: Strip
    flux: float
    flux_err: float


class TraceCandidate(Step[Rows, tuple[Strip, ...], tuple[Point, ...]]):
    """Measure the place of a new candidate on all earlier differences of its field: its past, or upper limits."""

    name = "trace_candidate"
    version = "1"
    takes = Candidate
    from_state = "candidate_found"
    to_state = "candidate_traced"
    groups = ("science",)

    def query(self, session: Session, item: Candidate, work: Work) -> Rows:  # noqa: ARG002
        frames = session.scalars(
            select(Pawprint)
            .where(
                Pawprint.field_id == item.field_id,
                exists().where(Product.item_id == Pawprint.id, Product.kind == "difference"),
                ~exists().where(Detection.candidate_id == item.id, Detection.pawprint_id == Pawprint.id),
            )
            .order_by(Pawprint.id)
        )
        differences = [(frame, ProductFile.newest(session, frame, "difference")) for frame in frames]
        return Rows(
            item.ra,
            item.dec,
            tuple((DifferencedFrame.of(session, frame, file), file) for frame, file in differences),
        )

    def extract(self, rows: Rows, work: Work) -> tuple[Strip, ...]:
        strips = (_strip(rows, frame, file, work) for frame, file in rows.frames)
        return tuple(strip for strip in strips if strip is not None)

    def transform(self, inputs: tuple[Strip, ...]) -> tuple[Point, ...]:
        return tuple(_measure(strip) for strip in inputs)

    def load(self, session: Session, item: Candidate, result: tuple[Point, ...], work: Work) -> None:  # noqa: ARG002
        for point in result:
            strip = point.strip
            row = forced_detection(
                strip.frame,
                (item.ra, item.dec),
                strip.place,
                (point.flux, point.flux_err),
                work.run_id,
            )
            if row is not None:
                item.detections.append(row)


def _strip(rows: Rows, frame: DifferencedFrame, file: ProductFile, work: Work) -> Strip | None:
    """Read the rows of a difference around a place; none if the frame does not show it."""
    path = work.open(file)
    image, psf = fits_file.inspect(path), read_psf(path)
    height, width = image.shape
    x, y = (float(each) for each in WCS(image.header).all_world2pix(rows.ra, rows.dec, 0, quiet=True))
    if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):  # also where it is not a number
        return None
    reach = int(np.ceil(REACH * psf.fwhm))
    near = slice(max(round(y) - reach, 0), min(round(y) + reach + 1, height))
    noise, mask = (fits_file.inspect(path, name).rows()[near] for name in ("UNCERT", "MASK"))
    return Strip(frame, (x, y), near.start, image.rows()[near], noise, mask, psf)


def _measure(strip: Strip) -> Point:
    x, y = np.array([strip.place[0]]), np.array([strip.place[1] - strip.first_row])
    row, column = round(float(y[0])), round(float(x[0]))
    if strip.mask[row, column]:
        return Point(strip, np.nan, np.nan)
    whole = np.array([strip.place[1]])
    psf = replace(strip.psf, shape=strip.data.shape, moments=strip.psf.moments_at(x, whole))
    fit = force_photometry(strip.data, strip.mask, float(strip.noise[row, column]), psf, x, y)
    return Point(strip, float(fit.flux[0]), float(fit.flux_err[0]))
