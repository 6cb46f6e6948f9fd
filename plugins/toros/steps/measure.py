"""Measure: everything that a solved frame shows - sources, magnitudes, zero point, quality, and its picture."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.errors import NoSources
from toros.models import Astrometry, Pawprint, PhotometricZeroPoint, QualityMeasure, Source
from toros.models.base import HEALPIX_ORDER
from toros.quality.judge import Colour, Verdict, judge
from toros.quality.limits import QualityLimits, read_limits
from toros.science.healpix import cells_of
from toros.science.picture import draw_frame, encode_png
from toros.science.sources import Measurement, measure_sources
from toros.science.zero_point import ZeroPoint
from toros.steps.fields import field_of
from toros.steps.frames import Frame, epoch_of, read_frame
from toros.steps.load import split_name
from toros.steps.photometry import CatalogueStars, add_magnitudes, catalogue_stars, on_sky, zero_point_of
from toros.steps.photometry_rules import PhotometryRules, read_photometry_rules
from toros.steps.step import ProductFile, Step, Work
from toros.steps.survey_rules import read_survey_rules
from toros.store.fits_table import write_table
from toros.store.psf_hdu import psf_hdu

CLEAR_SNR = 20.0
"""Shapes of fainter sources are mostly noise."""


@dataclass(frozen=True)
class Rows:
    """A solved frame as plain values."""

    frame: ProductFile
    name: str
    night: dt.date
    epoch: float
    """Julian year."""
    exptime: float
    filter: str | None
    camera: str
    pixel_scale: float
    ra: float
    dec: float
    measured: Mapping[str, float]
    """What earlier steps have measured on it."""
    best: Mapping[tuple[str, str], float]
    """The highest zero point of this camera and filter on earlier nights, by catalogue and band."""
    rules: PhotometryRules
    limits: QualityLimits
    field_radius: float
    """Shorter sides of the frame."""


@dataclass(frozen=True)
class Inputs:
    """A solved frame with its pixels, and the stars of the catalogue that are on it."""

    rows: Rows
    frame: Frame
    reference: CatalogueStars | None

    @property
    def nominal(self) -> float | None:
        """The highest zero point on earlier nights."""
        if self.reference is None:
            return None
        return self.rows.best.get((self.reference.catalogue, self.reference.band.band))


@dataclass(frozen=True)
class Result:
    """What was measured."""

    inputs: Inputs
    measurement: Measurement
    sources: QTable
    zero_point: ZeroPoint | None
    limiting_magnitude: float | None
    measures: tuple[tuple[str, float, str], ...]
    verdict: Verdict
    caveats: tuple[Caveat, ...]
    picture: bytes


class Measure(Step[Rows, Inputs, Result]):
    """Measure the sources of a frame, its zero point, and how good it is; a red frame goes no further."""

    name = "measure"
    version = "1"
    takes = Pawprint
    from_state = "wcs_solved"
    to_state = "measured"
    error_state = "failed_to_measure"
    groups = ("science",)

    def query(self, session: Session, item: Pawprint, work: Work) -> Rows:
        solution = _solution(session, item)
        return Rows(
            frame=ProductFile.newest(session, item, "calibrated"),
            name=item.name,
            night=item.night,
            epoch=epoch_of(item),
            exptime=item.exptime,
            filter=item.filter,
            camera=item.campaign.ccd.profile,
            pixel_scale=solution.pixel_scale,
            ra=solution.ra,
            dec=solution.dec,
            measured=_measured(session, item),
            best=_best_zero_points(session, item),
            rules=read_photometry_rules(work.settings.photometry_rules),
            limits=read_limits(work.settings.quality_limits),
            field_radius=read_survey_rules(work.settings.survey_rules).fields.radius,
        )

    def extract(self, rows: Rows, work: Work) -> Inputs:
        frame = read_frame(work.open(rows.frame))
        reach = np.hypot(*frame.data.shape) / 2 * rows.pixel_scale / 3600
        folder, place = work.settings.catalogues, (rows.ra, rows.dec)
        return Inputs(rows, frame, catalogue_stars(folder, rows.rules, rows.filter, place, reach, rows.epoch))

    def transform(self, inputs: Inputs) -> Result:
        rows, frame = inputs.rows, inputs.frame
        measurement = measure_sources(frame.data, frame.mask, frame.variance)
        if not len(measurement.sources):
            raise NoSources(f"{rows.name}: nothing stands out of the noise")
        wcs = frame.wcs
        sources = on_sky(measurement.sources, wcs)
        zero_point, caveats = zero_point_of(
            measurement, wcs, inputs.reference, rows.exptime, nominal=inputs.nominal
        )
        limit = None
        if zero_point is not None:
            add_magnitudes(sources, zero_point.value, rows.exptime)
            limit = float(zero_point.magnitude(measurement.limiting_flux, rows.exptime))
        measures = tuple(_measures(rows, measurement, zero_point, limit))
        verdict = judge(
            {**rows.measured, **{name: value for name, value, _ in measures}}, rows.limits, rows.camera
        )
        title = f"{rows.name}  {rows.filter or ''}  {rows.exptime:g} s"
        marked = (sources["x"].value, sources["y"].value, np.asarray(sources["flags"]))
        picture = encode_png(draw_frame(frame.data, frame.mask, sources=marked, wcs=wcs, title=title))
        return Result(
            inputs, measurement, sources, zero_point, limit, measures, verdict, tuple(caveats), picture
        )

    def write(self, result: Result, work: Work) -> None:
        rows = result.inputs.rows
        stem, _ = split_name(rows.name)
        caveats = (*(Caveat(caveat) for caveat in rows.frame.caveats), *result.caveats)
        made_of = (rows.frame.id,)
        table = work.stage("sources", rows.night, stem, ".fits", caveats=caveats, inputs=made_of)
        psf = psf_hdu(result.measurement.psf)
        write_table(table, result.sources, "SOURCES", _cards(result, work.run_id), [psf])
        picture = work.stage("picture", rows.night, stem, ".png", caveats=caveats, inputs=made_of)
        picture.write_bytes(result.picture)
        for name, value, unit in result.measures:
            work.measure(name, value, unit, result.verdict.colours.get(name))
        if result.verdict.colour is Colour.RED:
            reds = [str(reason) for reason in result.verdict.reasons if reason.colour is Colour.RED]
            work.leave("failed_quality", "; ".join(reds))

    def load(self, session: Session, item: Pawprint, result: Result, work: Work) -> None:
        if work.state == self.to_state:
            item.field = field_of(session, item, _solution(session, item), result.inputs.rows.field_radius)
        session.execute(insert(Source), list(_source_rows(result.sources, item.id, work.run_id)))
        zero_point, reference = result.zero_point, result.inputs.reference
        if zero_point is not None and reference is not None:
            session.add(
                PhotometricZeroPoint(
                    pawprint_id=item.id,
                    steprun_id=work.run_id,
                    band=reference.band.band,
                    catalogue=reference.catalogue,
                    zero_point=zero_point.value,
                    error=zero_point.error,
                    colour_term=zero_point.colour_term,
                    scatter=zero_point.scatter,
                    transparency=zero_point.transparency,
                    n_stars=zero_point.n_stars,
                    limiting_magnitude=result.limiting_magnitude,
                )
            )


# ------------------------------------------------------------------------------------------------ rows


def _solution(session: Session, item: Pawprint) -> Astrometry:
    """Return the newest plate solution of a solved frame."""
    query = select(Astrometry).where(Astrometry.pawprint_id == item.id).order_by(Astrometry.id.desc())
    return session.scalars(query.limit(1)).one()


def _measured(session: Session, item: Pawprint) -> dict[str, float]:
    """Return what was measured on an item, the newest value of each measure."""
    query = (
        select(QualityMeasure.name, QualityMeasure.value)
        .where(QualityMeasure.item_id == item.id)
        .order_by(QualityMeasure.id)
    )
    return dict(session.execute(query).all())


def _best_zero_points(session: Session, item: Pawprint) -> dict[tuple[str, str], float]:
    rows = session.execute(
        select(
            PhotometricZeroPoint.catalogue,
            PhotometricZeroPoint.band,
            func.max(PhotometricZeroPoint.zero_point),
        )
        .join(PhotometricZeroPoint.pawprint)
        .where(
            Pawprint.campaign_id == item.campaign_id,
            Pawprint.night
            < item.night,  # not of this one: what comes out must not depend on which frame was first
            Pawprint.filter.is_(None) if item.filter is None else Pawprint.filter == item.filter,
            PhotometricZeroPoint.n_stars >= 10,
        )
        .group_by(PhotometricZeroPoint.catalogue, PhotometricZeroPoint.band)
    )
    return {(catalogue, band): value for catalogue, band, value in rows}


def _source_rows(sources: QTable, pawprint_id: int, steprun_id: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of table Source; what is not finite is NULL."""
    columns = {
        "ra": sources["ra"].value,
        "dec": sources["dec"].value,
        "healpix": cells_of(sources["ra"].value, sources["dec"].value, HEALPIX_ORDER),
        "x": sources["x"].value,
        "y": sources["y"].value,
        "flux": sources["flux_psf"].value,
        "flux_err": sources["flux_psf_err"].value,
        "aper_flux": sources["flux_aper_corrected"].value,
        "aper_flux_err": sources["flux_aper_corrected_err"].value,
        "snr": np.asarray(sources["snr"]),
        "fwhm": sources["fwhm"].value,
        "ellipticity": np.asarray(sources["ellipticity"]),
        "mag": sources["mag"].value,
        "mag_err": sources["mag_err"].value,
        "flags": np.asarray(sources["flags"]),
    }
    plain = (column.tolist() for column in columns.values())
    for values in zip(*plain, strict=True):
        finite = (value if value == value else None for value in values)  # NaN is not equal to itself
        yield {
            "pawprint_id": pawprint_id,
            "steprun_id": steprun_id,
            **dict(zip(columns, finite, strict=True)),
        }


def _cards(result: Result, run_id: int) -> fits.Header:
    """Return the cards that tell what the table belongs to."""
    rows, header = result.inputs.rows, fits.Header()
    header["FRAME"] = rows.frame.path
    header["EXPTIME"] = (rows.exptime, "[s] exposure time")
    header["FILTER"] = rows.filter or ""
    if result.zero_point is not None:
        header["ZEROPNT"] = (result.zero_point.value, "[mag] of one electron per second")
        header["ZEROERR"] = (result.zero_point.error, "[mag] its error")
    header["STEPRUN"] = (run_id, "run that made this file")
    return header


# ------------------------------------------------------------------------------------------------ quality


def _measures(
    rows: Rows, measurement: Measurement, zero_point: ZeroPoint | None, limit: float | None
) -> Iterator[tuple[str, float, str]]:
    """Yield the numbers that say how good the frame is."""
    shape, table = measurement.star_shape, measurement.sources
    yield "star_count", measurement.n_stars, ""
    if shape.n_stars:
        yield "fwhm", shape.fwhm * rows.pixel_scale, "arcsec"
        yield "trailing", shape.ellipticity, ""
    clear = (np.asarray(table["snr"]) > CLEAR_SNR) & (np.asarray(table["flags"]) == 0)
    if clear.any():
        yield "ellipticity", float(np.median(table["ellipticity"][clear])), ""
    sky = measurement.background
    levels = sky.levels.mean(axis=(0, 1))[sky.usable]
    yield "background_gradient", float(np.ptp(levels) / max(abs(sky.typical_level), 1.0)), ""
    if zero_point is None:
        return
    yield "zero_point", zero_point.value, "mag"
    yield "zero_point_error", zero_point.error, "mag"
    if limit is not None:
        yield "limiting_magnitude", limit, "mag"
    if zero_point.transparency is not None:
        yield "transparency", zero_point.transparency, ""
