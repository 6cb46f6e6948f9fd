"""Combine: the frames of a calibration set become a master, compared with the last good one before it counts."""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.errors import TooFewFrames
from toros.models import CalFile, Combination, MasterCal, Product, State
from toros.science.bad_pixels import find_bad_pixels
from toros.science.combine import CombinedRows, Method, combine_rows, corrected_rows, level
from toros.science.compare import Comparison, compare_masters
from toros.science.geometry import Rows as PixelRows
from toros.science.geometry import trim_rows
from toros.steps.calibration_rules import CalibrationRules, CalibrationType, read_rules
from toros.steps.cameras import Camera, camera_of
from toros.steps.matching import Masters, choose_masters
from toros.steps.step import ProductFile, Step, Work
from toros.store import fits_file
from toros.store.fits_writer import FrameWriter, ccd_planes


@dataclass(frozen=True)
class Frame:
    """A calibration frame, and the masters that it is corrected with first."""

    raw: ProductFile
    masters: Masters


@dataclass(frozen=True)
class Rows:
    """A calibration set as plain values."""

    title: str
    night: dt.date
    imagetype: CalibrationType
    exptime: float
    filter: str | None
    frames: tuple[Frame, ...]
    camera: Camera
    previous: ProductFile | None
    rules: CalibrationRules

    @property
    def has_bias(self) -> bool:
        """Whether no master bias was subtracted from some frame."""
        return any(frame.masters.bias is None for frame in self.frames)

    @property
    def product_ids(self) -> tuple[int, ...]:
        """Products that the master is made from."""
        masters = {product for frame in self.frames for product in frame.masters.product_ids}
        return (*(frame.raw.id for frame in self.frames), *sorted(masters))


@dataclass(frozen=True)
class Inputs:
    """A calibration set with its pixels; nothing is read yet."""

    rows: Rows
    frames: tuple[PixelRows, ...]
    previous: tuple[PixelRows, PixelRows] | None
    """The last good master, and its uncertainty."""


@dataclass(frozen=True)
class Result:
    """A master on its way: its rows come one tile after another, so that it never needs to fit into memory."""

    inputs: Inputs
    method: Method
    tiles: Iterator[CombinedRows]


class Combine(Step[Rows, Inputs, Result]):
    """What the three kinds of master have in common."""

    takes = MasterCal
    from_state = "master_wanted"
    to_state = "master_accepted"
    error_state = "failed_to_combine"
    groups = ("calibration",)
    lease = dt.timedelta(hours=1)
    imagetype: ClassVar[CalibrationType]

    @abstractmethod
    def masters_for(
        self, session: Session, frame: CalFile, rules: CalibrationRules, camera: Camera
    ) -> Masters:
        """Choose the masters that the frames are corrected with first."""

    @abstractmethod
    def scale(self, frame: PixelRows) -> float:
        """Return the factor that makes the frames of a set alike."""

    @abstractmethod
    def mask(self, rows: Rows, data: PixelRows, uncertainty: PixelRows) -> NDArray[np.uint8]:
        """Find the bad pixels that this kind of master shows."""

    def query(self, session: Session, item: MasterCal, work: Work) -> Rows:
        rules = read_rules(work.settings.rules)
        frames = session.scalars(
            select(CalFile)
            .join(Combination, Combination.calfile_id == CalFile.id)
            .where(Combination.mastercal_id == item.id)
            .order_by(CalFile.observation_date, CalFile.id)
        ).all()
        fewest = rules.masters.fewest_frames[self.imagetype]
        if len(frames) < fewest:
            raise TooFewFrames(f"{item.set_key} has {len(frames)} frames; at least {fewest} are needed")
        camera = camera_of(frames[0], work.settings)
        previous = _last_good(session, item)
        return Rows(
            title=f"{item.set_key} v{item.version}",
            night=item.night,
            imagetype=self.imagetype,
            exptime=frames[0].exptime,
            filter=item.filter,
            frames=tuple(
                Frame(
                    ProductFile.newest(session, frame, "raw"),
                    self.masters_for(session, frame, rules, camera),
                )
                for frame in frames
            ),
            camera=camera,
            previous=ProductFile.of(previous) if previous else None,
            rules=rules,
        )

    def extract(self, rows: Rows, work: Work) -> Inputs:
        frames = []
        for number, frame in enumerate(rows.frames):
            raw = fits_file.inspect(work.open(frame.raw)).rows_on_disk(work.scratch(f"frame_{number}"))
            frames.append(_corrected(trim_rows(raw, rows.camera.geometry), frame.masters, work))
        previous = None
        if rows.previous is not None:
            previous = (plane_of(rows.previous, work), plane_of(rows.previous, work, "UNCERT"))
        return Inputs(rows, tuple(frames), previous)

    def transform(self, inputs: Inputs) -> Result:
        rules = inputs.rows.rules.masters
        scales = [self.scale(frame) for frame in inputs.frames]
        frames = [
            frame if scale == 1 else corrected_rows(frame, scale=scale)
            for frame, scale in zip(inputs.frames, scales, strict=True)
        ]
        method: Method = "clipped_mean" if len(frames) >= rules.clipped_mean_from else "median"
        return Result(inputs, method, combine_rows(frames, method=method, clip_sigma=rules.clip_sigma))

    def write(self, result: Result, work: Work) -> None:
        rows, shape = result.inputs.rows, result.inputs.rows.camera.geometry.shape
        unit = units.dimensionless_unscaled if self.imagetype == "Flat" else units.adu
        caveats = list(_caveats(result, self.imagetype))
        path = work.scratch("master.fits")
        with FrameWriter(path, ccd_planes(shape, unit, _header(result))) as writer:
            for tile in result.tiles:
                writer.write("DATA", tile.rows.start, tile.data)
                writer.write("UNCERT", tile.rows.start, tile.uncertainty)
            data, uncertainty = writer.rows("DATA"), writer.rows("UNCERT")
            mask = self.mask(rows, data, uncertainty)
            writer.write("MASK", 0, mask)
            typical = level(data)
            if result.inputs.previous is None:
                caveats.append(Caveat.FIRST_MASTER)
            else:
                comparison = _compare(data, uncertainty, result.inputs.previous, rows.rules)
                caveats += _verdict(comparison, typical, rows.rules, work)
            work.measure("level", typical, unit.to_string())
            work.measure("uncertainty", level(uncertainty), unit.to_string())
            work.measure("frames", len(rows.frames))
            work.measure("bad_pixel_fraction", float(np.count_nonzero(mask) / mask.size))
        staged = work.stage(
            "master", rows.night, rows.title, ".fits", caveats=caveats, inputs=rows.product_ids
        )
        path.rename(staged)

    def load(self, session: Session, item: MasterCal, result: Result, work: Work) -> None:  # noqa: ARG002
        if self.imagetype == "Dark":
            item.has_bias = result.inputs.rows.has_bias


class CombineBias(Combine):
    """Combine bias frames; pixels that scatter too much are flagged NOISY."""

    name = "combine_bias"
    version = "1"
    imagetype = "Bias"
    conditions = (MasterCal.imagetype == "Bias",)

    def masters_for(
        self,
        session: Session,  # noqa: ARG002
        frame: CalFile,  # noqa: ARG002
        rules: CalibrationRules,  # noqa: ARG002
        camera: Camera,  # noqa: ARG002
    ) -> Masters:
        return Masters()

    def scale(self, frame: PixelRows) -> float:  # noqa: ARG002
        return 1.0

    def mask(self, rows: Rows, data: PixelRows, uncertainty: PixelRows) -> NDArray[np.uint8]:  # noqa: ARG002
        return find_bad_pixels(scatter=uncertainty)


class CombineDark(Combine):
    """Combine dark frames, free of the bias where there is one; hot and noisy pixels are flagged."""

    name = "combine_dark"
    version = "1"
    imagetype = "Dark"
    conditions = (MasterCal.imagetype == "Dark",)

    def masters_for(
        self, session: Session, frame: CalFile, rules: CalibrationRules, camera: Camera
    ) -> Masters:
        return choose_masters(session, frame, rules, camera, kinds=("Bias",))

    def scale(self, frame: PixelRows) -> float:  # noqa: ARG002
        return 1.0

    def mask(self, rows: Rows, data: PixelRows, uncertainty: PixelRows) -> NDArray[np.uint8]:
        gain = float(np.mean([amplifier.gain for amplifier in rows.camera.geometry.amplifiers]))
        if not rows.exptime:
            return find_bad_pixels(scatter=uncertainty)
        current = corrected_rows(data, scale=gain / rows.exptime)
        return find_bad_pixels(dark_current=current, scatter=uncertainty)


class CombineFlat(Combine):
    """Combine flat frames, each brought to a median of one; pixels that do not answer to light are flagged DEAD."""

    name = "combine_flat"
    version = "1"
    imagetype = "Flat"
    conditions = (MasterCal.imagetype == "Flat",)

    def masters_for(
        self, session: Session, frame: CalFile, rules: CalibrationRules, camera: Camera
    ) -> Masters:
        return choose_masters(session, frame, rules, camera, kinds=("Bias", "Dark"))

    def scale(self, frame: PixelRows) -> float:
        return 1.0 / level(frame)

    def mask(self, rows: Rows, data: PixelRows, uncertainty: PixelRows) -> NDArray[np.uint8]:  # noqa: ARG002
        return find_bad_pixels(flat=data)


class FlooredRows:
    """An uncertainty that is nowhere below the typical one: two or three frames can agree by chance."""

    def __init__(self, rows: PixelRows) -> None:
        self.shape = rows.shape
        self._rows = rows
        self._floor = np.float32(level(rows))

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        floored: NDArray[np.float32] = np.maximum(self._rows[rows], self._floor)
        return floored


def _last_good(session: Session, item: MasterCal) -> Product | None:
    return session.scalar(
        select(Product)
        .join(MasterCal, Product.item_id == MasterCal.id)
        .join(MasterCal.state)
        .where(
            State.name == "master_accepted",
            MasterCal.set_key == item.set_key,
            MasterCal.id != item.id,
            Product.kind == "master",
        )
        .order_by(MasterCal.night.desc(), MasterCal.version.desc(), Product.version.desc())
        .limit(1)
    )


def plane_of(product: ProductFile, work: Work, name: str = "DATA") -> PixelRows:
    """Open a plane of a master: DATA, UNCERT or MASK."""
    extension = None if name == "DATA" else name
    return fits_file.inspect(work.open(product), extension).rows()


def _corrected(frame: PixelRows, masters: Masters, work: Work) -> PixelRows:
    """Return a trimmed frame without bias and dark."""
    if masters.bias is None and masters.dark is None:
        return frame  # stays integer: its median is exact, and faster
    bias = plane_of(masters.bias.product, work) if masters.bias else None
    dark = plane_of(masters.dark.product, work) if masters.dark else None
    return corrected_rows(frame, bias=bias, dark=dark, dark_scale=masters.dark_scale)


def _compare(
    data: PixelRows,
    uncertainty: PixelRows,
    previous: tuple[PixelRows, PixelRows],
    rules: CalibrationRules,
) -> Comparison:
    return compare_masters(
        data,
        previous[0],
        FlooredRows(uncertainty),
        FlooredRows(previous[1]),
        sigma=rules.masters.deviating_sigma,
    )


def _verdict(comparison: Comparison, typical: float, rules: CalibrationRules, work: Work) -> list[Caveat]:
    """Record the comparison; reject the master if it deviates too much."""
    work.measure("deviating_fraction", comparison.fraction_deviating)
    work.measure("level_shift", comparison.median_shift)
    if comparison.fraction_deviating > rules.masters.deviating_fraction:
        work.leave(
            "master_rejected",
            f"{comparison.fraction_deviating:.1%} of its pixels differ from the last good master's, more than "
            f"the {rules.masters.deviating_fraction:.1%} that the rules allow",
        )
    changed = abs(comparison.median_shift) > rules.masters.level_change * abs(typical)
    return [Caveat.LEVEL_CHANGED] if changed else []


def _caveats(result: Result, imagetype: CalibrationType) -> Iterator[Caveat]:
    rows = result.inputs.rows
    for frame in rows.frames:
        yield from frame.masters.caveats
    if len(rows.frames) < rows.rules.masters.enough_frames[imagetype]:
        yield Caveat.FEW_FRAMES
    has_overscan = rows.camera.geometry.has_overscan
    if imagetype == "Dark" and rows.has_bias:
        yield Caveat.NO_BIAS if has_overscan else Caveat.DARK_WITH_BIAS
    if imagetype == "Flat" and any(not frame.masters.product_ids for frame in rows.frames):
        yield Caveat.NO_BIAS if has_overscan else Caveat.FLAT_WITHOUT_BIAS


def _header(result: Result) -> fits.Header:
    rows = result.inputs.rows
    header = fits.Header()
    header["IMAGETYP"] = (f"Master {rows.imagetype}", "kind of master frame")
    header["NIGHT"] = (rows.night.isoformat(), "observing night, local noon to noon")
    header["NCOMBINE"] = (len(rows.frames), "number of frames combined")
    header["COMBINE"] = (result.method, "how they were combined")
    if rows.imagetype == "Dark":
        header["EXPTIME"] = (rows.exptime, "[s] exposure time of the frames")
    if rows.filter:
        header["FILTER"] = rows.filter
    header["SETKEY"] = rows.title  # no comment: it would not fit beside a long name
    for frame in rows.frames:
        header.add_history(f"from {frame.raw.path}")
    return header
