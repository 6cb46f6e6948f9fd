"""Find candidates: what stands out of a difference image, how probably it is real, and which object it is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Row, Table
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.catalogues import reference_stars
from toros.caveats import Caveat
from toros.errors import Conflict, NoCatalogue
from toros.models import (
    Astrometry,
    Candidate,
    Detection,
    Field,
    Pawprint,
)
from toros.models.base import HEALPIX_ORDER
from toros.science.association import associate_detections
from toros.science.candidate_features import candidate_features
from toros.science.candidates import CandidateFlag, find_candidates
from toros.science.contact_sheet import draw_contact_sheet
from toros.science.healpix import cells_of, unit_vectors
from toros.science.image import Image
from toros.science.picture import encode_png
from toros.science.psf_fit import force_photometry
from toros.science.real_bogus import Model, score
from toros.science.stamps import stamps_at
from toros.steps.detections import DifferencedFrame, forced_detection, found_detection, reference_of
from toros.steps.fields import name_of_position
from toros.steps.frames import DifferenceImage, Frame, epoch_of, read_difference, read_frame
from toros.steps.load import split_name
from toros.steps.real_bogus_model import read_real_bogus_model
from toros.steps.step import ProductFile, Step, Work
from toros.steps.survey_rules import CandidateRules, read_survey_rules
from toros.store.fits_table import read_table, write_table
from toros.store.stamps import EXTENSION

REJECTED = (
    CandidateFlag.EDGE
    | CandidateFlag.BAD_PIXELS
    | CandidateFlag.COSMIC_RAY
    | CandidateFlag.NEAR_SATURATED
    | CandidateFlag.DIPOLE
    | CandidateFlag.TRAIL
)
"""What carries one of these is kept in the table of the frame, and is no object of its own."""


@dataclass(frozen=True)
class Known:
    """Objects that earlier frames have shown: their numbers and places (degrees)."""

    ids: tuple[int, ...]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """A differenced frame as plain values."""

    frame: ProductFile
    difference: ProductFile
    reference_sources: ProductFile
    scale: DifferencedFrame
    name: str
    night: dt.date
    epoch: float
    ra: float
    dec: float
    fov: float
    """Degrees: longer side of the frame."""
    pixel_scale: float
    known: Known
    rules: CandidateRules


@dataclass(frozen=True)
class Inputs:
    """A differenced frame with its pixels, and what is known about its piece of sky."""

    rows: Rows
    frame: Frame
    difference: DifferenceImage
    reference_sources: QTable
    stars: Table | None
    """Of the reference catalogue."""
    model: Model
    """That tells real from bogus."""


@dataclass(frozen=True)
class Result:
    """What was found."""

    inputs: Inputs
    candidates: QTable
    """All that was found, with scores; the most probable first."""
    kept: NDArray[np.intp]
    """Rows of it that become detections of objects."""
    objects: NDArray[np.intp]
    """For each of these: row of the known objects, or beyond them for new ones."""
    counterparts: tuple[str | None, ...]
    forced: Table
    """Flux of every known object on the frame."""
    stamps: NDArray[np.float32]
    sheet: bytes
    model_version: str
    threshold: float


class FindCandidates(Step[Rows, Inputs, Result]):
    """Detect what has changed, score it, and tell which object it is; measure known objects that do not stand out."""

    name = "find_candidates"
    version = "1"
    takes = Pawprint
    from_state = "differenced"
    to_state = "searched"
    error_state = "failed_search"
    groups = ("science",)

    def query(self, session: Session, item: Pawprint, work: Work) -> Rows:
        difference = ProductFile.newest(session, item, "difference")
        reference = reference_of(session, difference)
        solution = session.scalars(
            select(Astrometry).where(Astrometry.pawprint_id == item.id).order_by(Astrometry.id.desc())
        ).first()
        assert solution is not None  # it was measured
        return Rows(
            ProductFile.newest(session, item, "calibrated"),
            difference,
            ProductFile.newest(session, reference.stack, "sources"),
            DifferencedFrame.of(session, item, difference),
            item.name,
            item.night,
            epoch_of(item),
            solution.ra,
            solution.dec,
            solution.pixel_scale * max(item.naxis1, item.naxis2) / 3600,
            solution.pixel_scale,
            _known(session, item),
            read_survey_rules(work.settings.survey_rules).candidates,
        )

    def extract(self, rows: Rows, work: Work) -> Inputs:
        try:
            stars = reference_stars(work.settings.catalogues, rows.ra, rows.dec, rows.fov, rows.epoch)
        except NoCatalogue:
            stars = None
        return Inputs(
            rows,
            read_frame(work.open(rows.frame)),
            read_difference(work.open(rows.difference)),
            read_table(work.open(rows.reference_sources), "SOURCES"),
            stars,
            read_real_bogus_model(work.settings.real_bogus_model),
        )

    def transform(self, inputs: Inputs) -> Result:
        rows, difference = inputs.rows, inputs.difference
        wcs, image, model = inputs.frame.wcs, difference.image, inputs.model
        found = find_candidates(image, difference.psf, threshold=rows.rules.threshold)
        found["score"] = score(model, _features(inputs, found))
        found["ra"], found["dec"] = _sky(wcs, found["x"].value, found["y"].value)
        found.sort("score", reverse=True)
        is_kept = (np.asarray(found["flags"]) & int(REJECTED)) == 0
        kept = np.flatnonzero(is_kept)[: rows.rules.most]
        radius = max(
            rows.rules.association_radius,
            rows.rules.association_fwhm * difference.psf.fwhm * rows.pixel_scale,
        )
        known = rows.known
        objects = associate_detections(
            known.ra, known.dec, found["ra"][kept], found["dec"][kept], np.zeros(kept.size), radius
        )
        stamps = _stamps(inputs, found[kept])
        return Result(
            inputs,
            found,
            kept,
            objects,
            _counterparts(inputs, found[kept]),
            _forced(inputs, wcs),
            stamps,
            encode_png(draw_contact_sheet(stamps, _captions(inputs, found[kept]), title=rows.name)),
            model.version,
            model.threshold,
        )

    def write(self, result: Result, work: Work) -> None:
        rows = result.inputs.rows
        stem, _ = split_name(rows.name)
        caveats = [Caveat(caveat) for caveat in rows.difference.caveats]
        made_of = (rows.frame.id, rows.difference.id, rows.reference_sources.id)
        table = work.stage("candidates", rows.night, stem, ".fits", caveats=caveats, inputs=made_of)
        header = fits.Header([("STEPRUN", work.run_id), ("MODEL", result.model_version)])
        stamps = fits.ImageHDU(result.stamps, name=EXTENSION) if result.kept.size else None
        write_table(table, result.candidates, "CANDIDATES", header, [stamps] if stamps else [])
        sheet = work.stage("contact_sheet", rows.night, stem, ".png", caveats=caveats, inputs=made_of)
        sheet.write_bytes(result.sheet)
        work.measure("candidates_found", len(result.candidates))
        work.measure("candidates_kept", result.kept.size)

    def load(self, session: Session, item: Pawprint, result: Result, work: Work) -> None:
        session.execute(select(Field.id).where(Field.id == item.field_id).with_for_update())
        known, scale = _known(session, item), result.inputs.rows.scale
        if known.ids != result.inputs.rows.known.ids:
            raise Conflict("another frame of the field has shown new objects meanwhile")
        objects = {number: session.get_one(Candidate, known.ids[number]) for number in range(len(known.ids))}
        for row, (place, number) in enumerate(zip(result.kept, result.objects, strict=True)):
            if number not in objects:
                objects[number] = _new_candidate(item, result.candidates[place], result.counterparts[row])
                work.spawn(objects[number], "candidate_found")
            detection = found_detection(scale, result.candidates[place], result.model_version, work.run_id)
            detection.stamp = row
            _add(objects[number], detection, result.threshold)
        for number in sorted({*range(len(known.ids))} - {*result.objects.tolist()}):
            row = result.forced[number]
            place, pixel = (known.ra[number], known.dec[number]), (row["x"], row["y"])
            forced = forced_detection(scale, place, pixel, (row["flux"], row["flux_err"]), work.run_id)
            if forced is not None:
                objects[number].detections.append(forced)


# ------------------------------------------------------------------------------------------------ rows


def _known(session: Session, item: Pawprint) -> Known:
    """Return the objects of the field of a frame."""
    found = session.execute(
        select(Candidate.id, Candidate.ra, Candidate.dec)
        .where(Candidate.field_id == item.field_id)
        .order_by(Candidate.id)
    ).all()
    ids, ra, dec = zip(*found, strict=True) if found else ((), (), ())
    return Known(tuple(ids), np.array(ra, np.float64), np.array(dec, np.float64))


def _new_candidate(item: Pawprint, row: Row, counterpart: str | None) -> Candidate:
    ra, dec = float(row["ra"]), float(row["dec"])
    return Candidate(
        field_id=item.field_id,
        ra=ra,
        dec=dec,
        healpix=int(cells_of(ra, dec, HEALPIX_ORDER)),
        kind_of_object="star" if counterpart else "unknown",
        counterpart=counterpart,
    )


def _add(candidate: Candidate, detection: Detection, threshold: float) -> None:
    """Add a detection to its object, which is as probable as its best detection."""
    candidate.detections.append(detection)
    if detection.score is not None and detection.score >= (candidate.score or 0.0):
        candidate.score = detection.score
        candidate.predicted = "real" if detection.score >= threshold else "bogus"


# ------------------------------------------------------------------------------------------------ pixels


def _features(inputs: Inputs, found: QTable) -> NDArray[np.float32]:
    """Describe what was found for the classifier."""
    difference, sources = inputs.difference, inputs.reference_sources
    x, y = inputs.frame.wcs.all_world2pix(sources["ra"].value, sources["dec"].value, 0, quiet=True)
    near = np.isfinite(x) & np.isfinite(y)
    here = {
        "x": x[near],
        "y": y[near],
        "flux_psf": sources["flux_psf"].value[near] * difference.scale,
    }
    science, image = inputs.frame.image, difference.image
    reference = Image(difference.reference, image.variance, image.mask)
    return candidate_features(science, reference, image, found, QTable(here), difference.psf)


def _sky(wcs: WCS, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    ra, dec = wcs.all_pix2world(x, y, 0)
    return np.mod(ra, 360.0), dec


def _forced(inputs: Inputs, wcs: WCS) -> Table:
    """Measure the flux of the difference at the place of every known object; not a number off the frame."""
    known, difference = inputs.rows.known, inputs.difference
    image = difference.image
    height, width = image.shape
    x, y = wcs.all_world2pix(known.ra, known.dec, 0, quiet=True) if known.ids else np.zeros((2, 0))
    column, row = (np.nan_to_num(np.rint(place), nan=-1.0).astype(int) for place in (x, y))
    shown = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    shown[shown] = image.mask[row[shown], column[shown]] == 0
    flux, error = np.full((2, x.size), np.nan)
    if shown.any():
        noise = np.sqrt(image.variance[row[shown], column[shown]].astype(np.float64))
        fit = force_photometry(image.data, image.mask, noise, difference.psf, x[shown], y[shown])
        flux[shown], error[shown] = fit.flux, fit.flux_err
    return Table({"x": x, "y": y, "flux": flux, "flux_err": error})


def _stamps(inputs: Inputs, found: QTable) -> NDArray[np.float32]:
    """Cut frame, reference and difference around candidates, NaN beyond the edge: shape (n, 3, side, side)."""
    difference = inputs.difference
    radius = round(inputs.rows.rules.stamp_fwhm * difference.psf.fwhm)
    places = stamps_at(difference.image.shape, found["x"].value, found["y"].value, radius)
    planes = (inputs.frame.data, difference.reference, difference.image.data)
    cuts = [np.where(places.inside, places.cut(plane), np.float32(np.nan)) for plane in planes]
    return np.stack(cuts, axis=1)


def _captions(inputs: Inputs, found: QTable) -> list[str]:
    """Say of each candidate where it is, how bright and how probable."""
    captions = []
    for row in found:
        magnitude = inputs.rows.scale.magnitude(abs(row["flux"].value))
        bright = f"{magnitude:.2f} mag" if magnitude is not None else f"{row['flux'].value:.0f} e-"
        faded = ", faded" if row["sign"] < 0 else ""
        captions.append(
            f"{name_of_position(row['ra'], row['dec'])}\n"
            f"score {row['score']:.2f}, S/N {row['snr']:.0f}, {bright}{faded}"
        )
    return captions


def _counterparts(inputs: Inputs, found: QTable) -> tuple[str | None, ...]:
    """Name the star of the catalogue at each place."""
    stars = inputs.stars
    if stars is None or not len(stars) or not len(found):
        return (None,) * len(found)
    tree = cKDTree(unit_vectors(stars["ra"], stars["dec"]))
    reach = np.radians(inputs.rows.rules.counterpart_radius / 3600)
    distance, _ = tree.query(unit_vectors(found["ra"], found["dec"]), distance_upper_bound=reach)
    catalogue = stars.meta["catalogue"]
    return tuple(
        f"star of {catalogue} at {np.degrees(each) * 3600:.1f} arcsec" if np.isfinite(each) else None
        for each in distance
    )
