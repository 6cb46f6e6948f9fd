"""Stack: the frames of a field, aligned on the sky and combined, with its sources and its depth."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.errors import NoSources, TooFewFrames
from toros.models import Pawprint, PhotometricZeroPoint, QualityMeasure, StackMember
from toros.models import Stack as StackItem
from toros.science.background import Background, estimate_background
from toros.science.calibrate import variance_of
from toros.science.field_grid import field_grid
from toros.science.geometry import Rows as PixelRows
from toros.science.image import Plane as Pixels
from toros.science.picture import draw_frame, encode_png
from toros.science.resample import pixel_map
from toros.science.sources import Measurement, measure_sources
from toros.science.stack import Stack as StackedFrames
from toros.science.stack import StackFrame, StackWeights, stack, stack_weights
from toros.steps.frames import epoch_of
from toros.steps.photometry import CatalogueStars, add_magnitudes, catalogue_stars, on_sky, zero_point_of
from toros.steps.photometry_rules import PhotometryRules, read_photometry_rules
from toros.steps.step import ProductFile, Step, Work
from toros.store import fits_file
from toros.store.fits_table import write_table
from toros.store.fits_writer import FrameWriter, Plane, ccd_planes
from toros.store.psf_hdu import psf_hdu


@dataclass(frozen=True)
class Member:
    """A measured frame of the stack as plain values."""

    id: int
    frame: ProductFile
    exptime: float
    night: dt.date
    zero_point: float | None
    """Magnitude of one electron per second."""
    sky_noise: float
    """Electron."""
    fwhm: float | None
    """Arcsec."""
    epoch: float
    """Julian year."""


@dataclass(frozen=True)
class Rows:
    """A wanted stack as plain values."""

    name: str
    ra: float
    dec: float
    filter: str | None
    epoch: float
    """Julian year."""
    members: tuple[Member, ...]
    rules: PhotometryRules

    @property
    def is_calibrated(self) -> bool:
        """Whether the zero points of its frames are known."""
        return all(member.zero_point is not None for member in self.members)


@dataclass(frozen=True)
class MemberPixels:
    """The pixels of a member, read when they are asked for."""

    header: fits.Header
    data: PixelRows
    mask: PixelRows

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def wcs(self) -> WCS:
        """Where it looks."""
        return WCS(self.header)

    def variance(self, pixels: NDArray[np.float32], rows: slice) -> Pixels:  # noqa: ARG002  as a stack asks for it
        """Return the variance of some rows, electron^2."""
        return variance_of(pixels, read_noise=float(self.header.get("RDNOISE", 0.0)))


@dataclass(frozen=True)
class Inputs:
    """The frames of a stack with their pixels."""

    rows: Rows
    pixels: tuple[MemberPixels, ...]
    weights: StackWeights
    grid: WCS
    shape: tuple[int, int]
    """Of the grid of the stack."""
    reference: CatalogueStars | None


@dataclass(frozen=True)
class Result:
    """A stack and what is measured on it."""

    inputs: Inputs
    stack: StackedFrames
    measurement: Measurement
    sources: QTable
    zero_point: float | None
    """Magnitude of one unit of its pixels."""
    fwhm: float
    """Arcsec."""
    caveats: tuple[Caveat, ...]
    picture: bytes

    @property
    def limiting_magnitude(self) -> float | None:
        """Of a star with S/N 5."""
        if self.zero_point is None:
            return None
        return float(self.zero_point - 2.5 * np.log10(self.measurement.limiting_flux))


class Stack(Step[Rows, Inputs, Result]):
    """Align the frames of a field, leave out what is in one of them only, and average the rest by their weights."""

    name = "stack"
    version = "1"
    takes = StackItem
    from_state = "stack_wanted"
    to_state = "stacked"
    error_state = "failed_stack"
    groups = ("stacks",)

    def query(self, session: Session, item: StackItem, work: Work) -> Rows:
        frames = session.scalars(
            select(Pawprint)
            .join(StackMember, StackMember.pawprint_id == Pawprint.id)
            .where(StackMember.stack_id == item.id)
            .order_by(Pawprint.id)
        )
        members = [_member(session, frame) for frame in frames]
        calibrated = [member for member in members if member.zero_point is not None]
        # A frame without zero point cannot be brought to the flux of those that have one.
        chosen = calibrated if len(calibrated) >= max(2, len(members) // 2) else members
        if not chosen:
            raise TooFewFrames(f"{item.name} has no frames")
        epoch = float(np.mean([member.epoch for member in chosen]))
        rules = read_photometry_rules(work.settings.photometry_rules)
        return Rows(item.name, item.ra, item.dec, item.filter, epoch, tuple(chosen), rules)

    def extract(self, rows: Rows, work: Work) -> Inputs:
        pixels, weights = tuple(_pixels(member, work) for member in rows.members), _weights(rows)
        best_first = [pixels[weights.standard], *pixels]
        centre = (rows.ra, rows.dec)
        grid, shape = field_grid(centre, [(frame.wcs, frame.shape) for frame in best_first])
        reach = float(np.hypot(*shape)) / 2 * _scale(grid) / 3600
        stars = catalogue_stars(work.settings.catalogues, rows.rules, rows.filter, centre, reach, rows.epoch)
        return Inputs(rows, pixels, weights, grid, shape, stars)

    def transform(self, inputs: Inputs) -> Result:
        rows, grid, weights, widths = inputs.rows, inputs.grid, inputs.weights, _widths(inputs.rows)
        stacked = stack(
            [
                StackFrame(
                    pixels.data,
                    pixels.mask,
                    pixels.variance,
                    pixel_map(grid, inputs.shape, pixels.wcs),
                    _background(pixels),
                    float(weights.scale[number]),
                    float(weights.weight[number]),
                    float(widths[number]),
                )
                for number, pixels in enumerate(inputs.pixels)
            ]
        )
        image = stacked.image
        measurement = measure_sources(image.data, image.mask, image.variance)
        if not len(measurement.sources):
            raise NoSources(f"{rows.name}: nothing stands out of the noise")
        sources = on_sky(measurement.sources, grid)
        standard = rows.members[weights.standard]
        measured, caveats = zero_point_of(measurement, grid, inputs.reference, standard.exptime)
        zero_point = measured.value if measured else standard.zero_point
        if zero_point is not None:
            caveats = [caveat for caveat in caveats if caveat is not Caveat.NO_ZERO_POINT]
            add_magnitudes(sources, zero_point, standard.exptime)
            zero_point += 2.5 * float(np.log10(standard.exptime))
        marked = (sources["x"].value, sources["y"].value, np.asarray(sources["flags"]))
        title = f"{rows.name}  {len(rows.members)} frames"
        picture = encode_png(draw_frame(image.data, image.mask, sources=marked, wcs=grid, title=title))
        fwhm = measurement.star_shape.fwhm * _scale(grid)
        return Result(inputs, stacked, measurement, sources, zero_point, fwhm, tuple(caveats), picture)

    def write(self, result: Result, work: Work) -> None:
        rows, image = result.inputs.rows, result.stack.image
        night = max(member.night for member in rows.members)
        made_of = tuple(member.frame.id for member in rows.members)
        caveats = [Caveat(caveat) for member in rows.members for caveat in member.frame.caveats]
        caveats += result.caveats
        path = work.stage("stack", night, rows.name, ".fits", caveats=caveats, inputs=made_of)
        planes = ccd_planes(image.shape, units.electron, _header(result, work.run_id))
        with FrameWriter(path, (*planes, Plane("COUNT", image.shape, np.uint16))) as writer:
            writer.write("DATA", 0, image.data)
            writer.write("UNCERT", 0, np.sqrt(image.variance))
            writer.write("MASK", 0, image.mask)
            writer.write("COUNT", 0, result.stack.n_frames)
        table = work.stage("sources", night, rows.name, ".fits", caveats=caveats, inputs=made_of)
        header = fits.Header([("STEPRUN", work.run_id, "run that made this file")])
        write_table(table, result.sources, "SOURCES", header, [psf_hdu(result.measurement.psf)])
        picture = work.stage("picture", night, rows.name, ".png", caveats=caveats, inputs=made_of)
        picture.write_bytes(result.picture)
        work.measure("frames_stacked", len(rows.members))
        work.measure("fwhm", result.fwhm, "arcsec")
        work.measure("star_count", result.measurement.n_stars)
        if result.limiting_magnitude is not None:
            work.measure("limiting_magnitude", result.limiting_magnitude, "mag")

    def load(self, session: Session, item: StackItem, result: Result, work: Work) -> None:  # noqa: ARG002
        item.zero_point, item.limiting_magnitude = result.zero_point, result.limiting_magnitude
        item.fwhm = result.fwhm
        share = result.inputs.weights.weight / result.inputs.weights.weight.sum()
        for number, member in enumerate(result.inputs.rows.members):
            row = session.get_one(StackMember, (item.id, member.id))
            row.weight, row.clipped = float(share[number]), float(result.stack.clipped[number])


# ------------------------------------------------------------------------------------------------ rows


def _member(session: Session, frame: Pawprint) -> Member:
    measured = dict(
        session.execute(
            select(QualityMeasure.name, QualityMeasure.value)
            .where(QualityMeasure.item_id == frame.id, QualityMeasure.name.in_(("sky_noise", "fwhm")))
            .order_by(QualityMeasure.id)
        ).all()
    )
    zero_point = session.scalar(
        select(PhotometricZeroPoint.zero_point)
        .where(PhotometricZeroPoint.pawprint_id == frame.id)
        .order_by(PhotometricZeroPoint.id.desc())
        .limit(1)
    )
    return Member(
        frame.id,
        ProductFile.newest(session, frame, "calibrated"),
        frame.exptime,
        frame.night,
        zero_point,
        measured["sky_noise"],
        measured.get("fwhm"),
        epoch_of(frame),
    )


# ------------------------------------------------------------------------------------------------ pixels


def _pixels(member: Member, work: Work) -> MemberPixels:
    path = work.open(member.frame)
    image = fits_file.inspect(path)
    return MemberPixels(image.header, image.rows(), fits_file.inspect(path, "MASK").rows())


def _background(pixels: MemberPixels) -> Background:
    whole = slice(0, pixels.shape[0])
    return estimate_background(pixels.data[whole], pixels.mask[whole])


def _widths(rows: Rows) -> NDArray[np.float64]:
    """Return the FWHM of the stars of each frame; where it was not measured, that of a typical one."""
    widths = np.array([member.fwhm or np.nan for member in rows.members])
    typical = np.nanmedian(widths) if np.isfinite(widths).any() else 1.0
    return np.where(np.isfinite(widths), widths, typical)


def _weights(rows: Rows) -> StackWeights:
    """Weigh the frames; without zero points they are taken to be equally transparent."""
    zero_points = [member.zero_point or 0.0 if rows.is_calibrated else 0.0 for member in rows.members]
    noise = [max(member.sky_noise, 1e-3) for member in rows.members]
    exptime = [max(member.exptime, 1e-3) for member in rows.members]
    return stack_weights(zero_points, noise, _widths(rows), exptime)


def _scale(grid: WCS) -> float:
    """Return the side of a pixel, arcsec."""
    return float(np.sqrt(abs(np.linalg.det(grid.pixel_scale_matrix)))) * 3600


def _header(result: Result, run_id: int) -> fits.Header:
    rows = result.inputs.rows
    header = result.inputs.grid.to_header(relax=True)
    header["OBJECT"] = rows.name
    header["FILTER"] = rows.filter or ""
    header["NFRAMES"] = (len(rows.members), "frames in it")
    header["EXPTIME"] = (
        rows.members[result.inputs.weights.standard].exptime,
        "[s] that its unit of flux refers to",
    )
    header["TOTALEXP"] = (sum(member.exptime for member in rows.members), "[s] of all frames")
    header["FWHM"] = (result.fwhm, "[arcsec] of its stars")
    if result.zero_point is not None:
        header["ZEROPNT"] = (result.zero_point, "[mag] of one unit")
    header["STEPRUN"] = (run_id, "run that made this file")
    for member in rows.members:
        header.add_history(f"stacked {member.frame.path}")
    return header
