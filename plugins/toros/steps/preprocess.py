"""Preprocess: a raw science frame becomes a calibrated one, in electrons, with a mask."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy import units
from astropy.io import fits
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.errors import NoCalibration, WaitingForMaster
from toros.models import Pawprint
from toros.science.calibrate import CalibratedFrame, calibrate
from toros.science.cosmic_rays import find_cosmic_rays
from toros.science.flags import PixelFlag, raise_flag
from toros.science.geometry import Rows as PixelRows
from toros.science.noise import sky_level, sky_noise
from toros.steps.calibration_rules import CalibrationRules, CalibrationType, read_rules
from toros.steps.cameras import Camera, camera_of
from toros.steps.combine import plane_of
from toros.steps.load import split_name
from toros.steps.matching import Masters, choose_masters, makeshifts, masters_in_the_making
from toros.steps.step import Parameters, ProductFile, Step, Work
from toros.store import fits_file
from toros.store.fits_writer import FrameWriter, ccd_planes

MISSING_CAVEATS: dict[CalibrationType, Caveat] = {
    "Bias": Caveat.NO_BIAS,
    "Dark": Caveat.NO_DARK,
    "Flat": Caveat.NO_FLAT,
}


class PreprocessParameters(Parameters):
    """How a frame is calibrated."""

    cosmic_rays: bool = True
    """Look for cosmic rays."""


@dataclass(frozen=True)
class Rows:
    """A science frame as plain values."""

    raw: ProductFile
    name: str
    night: dt.date
    exptime: float
    bayer: str | None
    camera: Camera
    masters: Masters
    caveats: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """A science frame with its pixels and those of its masters."""

    rows: Rows
    header: fits.Header
    raw: PixelRows
    bias: PixelRows | None
    dark: PixelRows | None
    flat: PixelRows | None
    bad_pixels: tuple[PixelRows, ...]


@dataclass(frozen=True)
class Result:
    """A calibrated frame."""

    inputs: Inputs
    frame: CalibratedFrame
    cosmic_ray_pixels: int | None


class Preprocess(Step[Rows, Inputs, Result]):
    """Subtract overscan, bias and dark, divide by the flat, and flag what cannot be trusted.

    A frame waits for masters in the making. What is missing after that is missing with a caveat, or fails the
    frame, as the rules say: it is never passed on uncalibrated as if it were calibrated.
    """

    name = "preprocess"
    version = "1"
    takes = Pawprint
    from_state = "cleaned_data"
    to_state = "preprocessed_data"
    error_state = "failed_to_preprocess"
    Parameters = PreprocessParameters
    groups = ("science",)

    def query(self, session: Session, item: Pawprint, work: Work) -> Rows:
        rules = read_rules(work.settings.rules)
        camera = camera_of(item, work.settings)
        masters = choose_masters(session, item, rules, camera)
        improvable = masters.missing | makeshifts(masters, item)
        _wait_or_refuse(
            item,
            masters,
            rules,
            better=not improvable.isdisjoint(masters_in_the_making(session, item)),
            waited=work.now - item.created_at > dt.timedelta(minutes=rules.science.wait_minutes),
            has_overscan=camera.geometry.has_overscan,
        )
        raw = ProductFile.newest(session, item, "raw")
        caveats = (
            *raw.caveats,
            *camera.caveats,
            *masters.caveats,
            *(MISSING_CAVEATS[kind] for kind in sorted(masters.missing)),
        )
        return Rows(raw, item.name, item.night, item.exptime, item.bayer, camera, masters, caveats)

    def extract(self, rows: Rows, work: Work) -> Inputs:
        image = fits_file.inspect(work.open(rows.raw))
        masters = rows.masters
        chosen = [
            master.product for master in (masters.bias, masters.dark, masters.flat) if master is not None
        ]
        return Inputs(
            rows,
            image.header,
            image.rows(),
            plane_of(masters.bias.product, work) if masters.bias else None,
            plane_of(masters.dark.product, work) if masters.dark else None,
            plane_of(masters.flat.product, work) if masters.flat else None,
            tuple(plane_of(product, work, "MASK") for product in chosen),
        )

    def transform(self, inputs: Inputs) -> Result:
        camera = inputs.rows.camera
        frame = calibrate(
            inputs.raw,
            camera.geometry,
            bias=inputs.bias,
            dark=inputs.dark,
            dark_scale=inputs.rows.masters.dark_scale,
            flat=inputs.flat,
            bad_pixels=_union(inputs.bad_pixels),
            saturation=camera.saturation,
        )
        # On a Bayer matrix neighbours differ by their colour: every edge would look like a cosmic ray.
        if not self.parameters.cosmic_rays or inputs.rows.bayer:
            return Result(inputs, frame, None)
        hit = find_cosmic_rays(frame.data, frame.variance, frame.mask)
        raise_flag(frame.mask, hit, PixelFlag.COSMIC_RAY)
        return Result(inputs, frame, int(np.count_nonzero(hit)))

    def write(self, result: Result, work: Work) -> None:
        rows, frame = result.inputs.rows, result.frame
        caveats = [Caveat(caveat) for caveat in rows.caveats]
        if result.cosmic_ray_pixels is None:
            caveats.append(Caveat.COSMIC_RAYS_NOT_SOUGHT)
        else:
            work.measure("cosmic_ray_pixels", result.cosmic_ray_pixels)
        made_of = (rows.raw.id, *rows.masters.product_ids)
        stem, _ = split_name(rows.name)
        path = work.stage("calibrated", rows.night, stem, ".fits", caveats=caveats, inputs=made_of)
        header = _header(result, caveats, work.run_id)
        with FrameWriter(
            path, ccd_planes(frame.data.shape, units.electron, header, has_uncertainty=False)
        ) as writer:
            writer.write("DATA", 0, frame.data)
            writer.write("MASK", 0, frame.mask)
        work.measure("sky_level", sky_level(frame.data, frame.mask), "electron")
        work.measure("sky_noise", sky_noise(frame.data, frame.mask), "electron")
        work.measure("masked_fraction", float(np.count_nonzero(frame.mask) / frame.mask.size))


def _wait_or_refuse(
    item: Pawprint,
    masters: Masters,
    rules: CalibrationRules,
    *,
    better: bool,
    waited: bool,
    has_overscan: bool,
) -> None:
    """Go on, wait or fail, by the rules, when masters are missing or better ones are in the making.

    Raises
    ------
    WaitingForMaster, NoCalibration
    """
    asked = {rules.science.missing[kind] for kind in masters.missing}
    nothing = not has_overscan and masters.missing.issuperset(rules.science.needs_one_of)
    lacking = " and ".join(f"no {kind.lower()}" for kind in sorted(masters.missing))
    what = f"{item.name}: {lacking} fits" if lacking else f"{item.name}: better masters are in the making"
    if nothing and better:  # what is in the making comes, or fails and is no longer in the making
        raise WaitingForMaster(f"{what}; masters are in the making")
    if not waited and (better or nothing or "wait" in asked):
        raise WaitingForMaster(f"{what}; it waits at most {rules.science.wait_minutes:g} min")
    if nothing or "fail" in asked:
        raise NoCalibration(what)


def _union(masks: tuple[PixelRows, ...]) -> PixelRows | None:
    """Return all bad pixels of the masters."""
    if not masks:
        return None
    union = masks[0][slice(0, masks[0].shape[0])].copy()
    for mask in masks[1:]:
        union |= mask[slice(0, mask.shape[0])]
    return union


def _header(result: Result, caveats: list[Caveat], run_id: int) -> fits.Header:
    """Return the raw header, and what was done; with it the variance plane can be computed again."""
    rows = result.inputs.rows
    header = result.inputs.header.copy(strip=True)
    amplifiers = rows.camera.geometry.amplifiers
    header["GAIN_E"] = (float(np.mean([a.gain for a in amplifiers])), "[electron/adu] gain that was applied")
    header["RDNOISE"] = (float(np.mean([a.read_noise for a in amplifiers])), "[electron] read noise")
    header["DARKSCAL"] = (rows.masters.dark_scale, "factor on the master dark")
    header["STEPRUN"] = (run_id, "run that made this file")
    header["CAVEATS"] = ",".join(dict.fromkeys(caveats))
    for line in _history(rows):
        header.add_history(line)
    return header


def _history(rows: Rows) -> Iterator[str]:
    if rows.camera.geometry.has_overscan:
        yield "overscan subtracted, trimmed"
    masters = rows.masters
    for verb, master in (
        ("minus bias", masters.bias),
        ("minus dark", masters.dark),
        ("over flat", masters.flat),
    ):
        if master is not None:
            yield f"{verb} {master.product.path}"
