"""Difference: what a measured frame shows more, or less, than the reference of its field."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.errors import WaitingForReference
from toros.models import Candidate, Pawprint, StackMember
from toros.quality.judge import Colour, Verdict, judge
from toros.quality.limits import QualityLimits, read_limits
from toros.science import difference as subtraction
from toros.science.difference import subtract
from toros.science.image import Image
from toros.science.noise import sky_noise
from toros.science.psf import Psf, guess_psf
from toros.science.psf_stars import measure_psf
from toros.science.resample import pixel_map, resample
from toros.science.zogy import subtract_zogy
from toros.steps.choose_reference import current_reference
from toros.steps.frames import Frame, StackedImage, read_frame, read_stack
from toros.steps.load import split_name
from toros.steps.step import ProductFile, Step, Work
from toros.steps.survey_rules import read_survey_rules
from toros.store.fits_table import read_table
from toros.store.fits_writer import FrameWriter, Plane, ccd_planes
from toros.store.psf_hdu import append_psf, read_psf

PSF_STARS = 250
"""So many of the brightest tell the image of a star in the reference."""


@dataclass(frozen=True)
class Rows:
    """A measured frame and the reference of its field, as plain values."""

    frame: ProductFile
    sources: ProductFile
    reference: ProductFile
    reference_sources: ProductFile
    reference_id: int
    name: str
    night: dt.date
    camera: str
    is_member: bool
    """Whether the frame is part of the reference."""
    known: tuple[tuple[float, float], ...]
    """Where candidates of the field are: no star there is one to compare by. Degrees."""
    method: Literal["kernel", "zogy"]
    limits: QualityLimits


@dataclass(frozen=True)
class Inputs:
    """A measured frame and its reference, with their pixels."""

    rows: Rows
    frame: Frame
    stars: QTable
    """Its sources that are in the reference, too: no trail of a satellite, no cosmic ray, nothing new."""
    psf: Psf
    reference: StackedImage


@dataclass(frozen=True)
class Result:
    """A difference, and the reference on the grid and scale of the frame."""

    inputs: Inputs
    difference: subtraction.Difference
    reference: Image
    measures: dict[str, float]
    verdict: Verdict


class Difference(Step[Rows, Inputs, Result]):
    """Bring the reference onto the grid of a frame, match their stars, and subtract; a red one goes no further."""

    name = "difference"
    version = "1"
    takes = Pawprint
    from_state = "measured"
    to_state = "differenced"
    error_state = "failed_difference"
    groups = ("science",)

    def query(self, session: Session, item: Pawprint, work: Work) -> Rows:
        reference = item.field_id and current_reference(session, item.field_id, item.filter)
        if not reference:
            raise WaitingForReference(f"{item.name}: its field has no reference yet")
        known = session.execute(
            select(Candidate.ra, Candidate.dec)
            .where(Candidate.field_id == item.field_id)
            .order_by(Candidate.id)
        )
        return Rows(
            ProductFile.newest(session, item, "calibrated"),
            ProductFile.newest(session, item, "sources"),
            ProductFile.of(reference.product),
            ProductFile.newest(session, reference.stack, "sources"),
            reference.id,
            item.name,
            item.night,
            item.campaign.ccd.profile,
            session.get(StackMember, (reference.stack_id, item.id)) is not None,
            tuple((ra, dec) for ra, dec in known),
            read_survey_rules(work.settings.survey_rules).differences.method,
            read_limits(work.settings.quality_limits),
        )

    def extract(self, rows: Rows, work: Work) -> Inputs:
        path, frame = work.open(rows.sources), read_frame(work.open(rows.frame))
        psf = read_psf(path)
        stars = _common(
            read_table(path, "SOURCES"), read_table(work.open(rows.reference_sources), "SOURCES"), frame, psf
        )
        return Inputs(rows, frame, stars, psf, read_stack(work.open(rows.reference)))

    def transform(self, inputs: Inputs) -> Result:
        frame, rows = inputs.frame, inputs.rows
        science = frame.image
        reference = resample(
            inputs.reference.image, pixel_map(frame.wcs, science.shape, inputs.reference.wcs)
        )
        images = science, reference, inputs.stars, inputs.psf, _psf_of(reference, inputs)
        is_zogy = rows.method == "zogy"
        difference = subtract_zogy(*images) if is_zogy else subtract(*images, avoid=_avoided(inputs))
        scale = difference.quality.scale
        reference = Image(reference.data * scale, reference.variance * scale**2, reference.mask)
        measures = _measures(difference)
        return Result(inputs, difference, reference, measures, judge(measures, rows.limits, rows.camera))

    def write(self, result: Result, work: Work) -> None:
        rows, image = result.inputs.rows, result.difference.image
        stem, _ = split_name(rows.name)
        caveats = [Caveat(caveat) for caveat in rows.frame.caveats]
        if rows.is_member:
            caveats.append(Caveat.IN_REFERENCE)
        made_of = (rows.frame.id, rows.sources.id, rows.reference.id, rows.reference_sources.id)
        path = work.stage("difference", rows.night, stem, ".fits", caveats=caveats, inputs=made_of)
        planes = ccd_planes(image.shape, units.electron, _header(result, work.run_id))
        with FrameWriter(path, (*planes, Plane("REFERENCE", image.shape, np.float32))) as writer:
            writer.write("DATA", 0, image.data)
            writer.write("UNCERT", 0, np.sqrt(image.variance) * np.float32(result.difference.noise_factor))
            writer.write("MASK", 0, image.mask)
            writer.write("REFERENCE", 0, result.reference.data)
        append_psf(path, result.difference.psf)
        for name, value in result.measures.items():
            work.measure(name, value, "", result.verdict.colours.get(name))
        if result.verdict.colour is Colour.RED:
            reds = [str(reason) for reason in result.verdict.reasons if reason.colour is Colour.RED]
            work.leave("failed_difference", "; ".join(reds))


def _common(sources: QTable, reference: QTable, frame: Frame, psf: Psf) -> QTable:
    """Return the sources of a frame that are sources of the reference, too."""
    x, y = frame.wcs.all_world2pix(reference["ra"].value, reference["dec"].value, 0, quiet=True)
    there = np.column_stack([x, y])
    there = there[np.isfinite(there).all(axis=1)]
    here = np.column_stack([sources["x"].value, sources["y"].value])
    distance, _ = cKDTree(there).query(here, distance_upper_bound=psf.fwhm)
    return sources[np.isfinite(distance)]


def _avoided(inputs: Inputs) -> NDArray[np.float64] | None:
    """Return where on the frame known candidates are, x and y."""
    known = np.reshape(inputs.rows.known, (-1, 2))
    return np.column_stack(inputs.frame.wcs.all_world2pix(*known.T, 0, quiet=True)) if len(known) else None


def _psf_of(reference: Image, inputs: Inputs) -> Psf:
    """Measure the stars of the reference on the grid of the frame."""
    stars = inputs.stars
    height, width = reference.shape
    column, row = (
        np.rint(stars[axis].value).astype(int).clip(0, side - 1)
        for axis, side in (("x", width), ("y", height))
    )
    good = np.flatnonzero((np.asarray(stars["flags"]) == 0) & (reference.mask[row, column] == 0))[:PSF_STARS]
    guess = guess_psf(reference.shape, inputs.psf.middle)
    noise = sky_noise(reference.data, reference.mask)
    x, y, flux = (stars[name].value[good] for name in ("x", "y", "flux_psf"))
    return measure_psf(reference.data, reference.mask, noise, x, y, flux, guess)


def _measures(difference: subtraction.Difference) -> dict[str, float]:
    """Return the numbers that say how good a difference is."""
    quality = difference.quality
    lowest, highest = quality.scale_range
    return {
        "difference_chi_sky": quality.chi_sky,
        "difference_chi_stars": quality.chi_faint,
        "difference_chi_bright": quality.chi_bright,
        "difference_model_error": quality.model_error,
        "difference_scale_range": (highest - lowest) / quality.scale,
        "difference_stars": quality.n_stars,
        "difference_masked_fraction": quality.masked_fraction,
    }


def _header(result: Result, run_id: int) -> fits.Header:
    """Return the header of the frame, and what was subtracted."""
    rows, difference = result.inputs.rows, result.difference
    header = result.inputs.frame.header.copy(strip=True)
    header["REFERID"] = (rows.reference_id, "number of the reference")
    header["CONVOLVE"] = (difference.convolved, "which image was convolved")
    header["KERNSUM"] = (difference.quality.scale, "flux in the frame over that in the reference")
    header["NOISEFAC"] = (difference.noise_factor, "UNCERT is larger by this, as pixels are alike")
    header["STEPRUN"] = (run_id, "run that made this file")
    header.add_history(f"minus reference {rows.reference.path}")
    return header
