"""Cameras as data: what the chip is like, and how a frame of it is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from astropy.io import fits
from pydantic import Field, model_validator

from toros.errors import WrongGeometry
from toros.instruments.data_file import DataModel
from toros.instruments.dialect import CardPatterns, TypeRule, all_match
from toros.science.geometry import Amplifier, Geometry

GENERIC_CAMERA = "generic"
"""Name of the camera that takes every frame whose header names an instrument."""


class Readout(DataModel):
    """The layout of a raw frame that is larger than its image (unbinned pixels).

    Amplifiers stand in columns and rows, all of one size; each is followed by its overscan columns, and rows
    of amplifiers are separated by a gap.
    """

    amplifiers: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    """Columns and rows of amplifiers."""
    active: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    """Columns and rows of pixels of one amplifier."""
    overscan: int = Field(default=0, ge=0)
    """Columns of overscan behind each amplifier."""
    gap: int = Field(default=0, ge=0)
    """Rows between the rows of amplifiers."""


class CameraProfile(DataModel):
    """A camera, as far as it is known: what is unknown is None, and never invented."""

    name: str
    brand: str = ""
    model: str = ""
    description: str = ""
    match: tuple[CardPatterns, ...] = ()
    """Alternatives; each is a set of cards that must all match."""
    by_size: bool = False
    """Several cameras write these cards: a frame of another size is another camera's, and not wrong."""
    pixels: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Columns and rows of the unbinned, trimmed image."""
    pixel_size: float | None = Field(default=None, gt=0)
    """Micrometres, unbinned."""
    gain: float | None = Field(default=None, gt=0)
    """Electrons per ADU."""
    read_noise: float | None = Field(default=None, ge=0)
    """Electrons."""
    saturation: float | None = Field(default=None, gt=0)
    """ADU where the response ends to be linear, or clips."""
    star_peak_limit: float | None = Field(default=None, gt=0)
    """ADU above which a star's peak is not to be used for photometry."""
    dark_temperature_limit: float | None = None
    """Degrees Celsius; warmer darks are not used."""
    bayer: str | None = None
    type_rules: tuple[TypeRule, ...] = ()
    readout: Readout | None = None

    @model_validator(mode="after")
    def _readout_gives_the_pixels(self) -> Self:
        if self.readout is not None:
            (across, up), (columns, rows) = self.readout.amplifiers, self.readout.active
            if self.pixels != (across * columns, up * rows):
                raise ValueError(
                    f"pixels {self.pixels} are not {across} x {up} amplifiers of {columns} x {rows}"
                )
        return self

    @property
    def is_generic(self) -> bool:
        """Whether nothing but the header is known of this camera."""
        return self.name == GENERIC_CAMERA

    def matches(self, header: fits.Header, shape: tuple[int, int], binning: tuple[int, int]) -> bool:
        """Tell whether this camera took a frame of this header, shape (ny, nx) and binning (x, y)."""
        if not any(all_match(alternative, header) for alternative in self.match):
            return False
        return not self.by_size or self._delivers(shape, binning)

    def geometry(
        self, xbinning: int, ybinning: int, shape: tuple[int, int], egain: float | None = None
    ) -> Geometry:
        """Lay out a frame of this camera.

        Parameters
        ----------
        xbinning, ybinning : int
            Binning factors.
        shape : tuple of int
            Rows and columns of the frame: as it was read out, or trimmed already.
        egain : float, optional
            Electrons per ADU from the header, for cameras whose own gain is not known.

        Returns
        -------
        toros.science.geometry.Geometry
            An unknown gain counts as 1 e-/ADU, an unknown read noise as 0: products say so in a caveat.

        Raises
        ------
        WrongGeometry
            The frame does not fit the camera.
        """
        gain = self.gain or egain or 1.0
        read_noise = self.read_noise or 0.0
        shapes = self._shapes(xbinning, ybinning)
        if shapes and shape not in shapes:
            expected = " or ".join(f"{columns} x {rows}" for rows, columns in shapes)
            raise WrongGeometry(
                f"a frame of {shape[1]} x {shape[0]} pixels, binned {xbinning} x {ybinning}, "
                f"is not one of {self.name}, which delivers {expected}"
            )
        if self.readout is None or shape == shapes[-1]:
            return Geometry.single(shape, gain, read_noise)
        return _amplifiers(self.readout, xbinning, ybinning, gain, read_noise)

    def _delivers(self, shape: tuple[int, int], binning: tuple[int, int]) -> bool:
        try:
            self.geometry(*binning, shape)
        except WrongGeometry:
            return False
        return True

    def _shapes(self, xbinning: int, ybinning: int) -> tuple[tuple[int, int], ...]:
        """Shapes of a raw frame (first) and of a trimmed one (last); none if the camera does not say."""
        if self.pixels is None:
            return ()
        trimmed = (self.pixels[1] // ybinning, self.pixels[0] // xbinning)
        if self.readout is None:
            return (trimmed,)
        readout = self.readout
        raw = _Stride.of(readout, xbinning, ybinning).raw_shape(readout.amplifiers)
        return (raw, trimmed)


# ------------------------------------------------------------------------------------------- amplifiers


@dataclass(frozen=True)
class _Stride:
    """Sizes of one amplifier in binned pixels."""

    columns: int
    rows: int
    overscan: int
    gap: int

    @classmethod
    def of(cls, readout: Readout, xbinning: int, ybinning: int) -> _Stride:
        (columns, rows), overscan, gap = readout.active, readout.overscan, readout.gap
        if columns % xbinning or overscan % xbinning or rows % ybinning or gap % ybinning:
            raise WrongGeometry(
                f"amplifiers of {columns} x {rows} pixels with {overscan} columns of overscan and a gap of "
                f"{gap} rows cannot be binned {xbinning} x {ybinning}"
            )
        return cls(columns // xbinning, rows // ybinning, overscan // xbinning, gap // ybinning)

    def raw_shape(self, amplifiers: tuple[int, int]) -> tuple[int, int]:
        across, up = amplifiers
        return up * self.rows + (up - 1) * self.gap, across * (self.columns + self.overscan)


def _amplifiers(readout: Readout, xbinning: int, ybinning: int, gain: float, read_noise: float) -> Geometry:
    stride = _Stride.of(readout, xbinning, ybinning)
    across, up = readout.amplifiers
    amplifiers = []
    for i in range(up):
        bottom = i * (stride.rows + stride.gap)
        raw_rows = slice(bottom, bottom + stride.rows)
        rows = slice(i * stride.rows, (i + 1) * stride.rows)
        for j in range(across):
            left = j * (stride.columns + stride.overscan)
            right = left + stride.columns
            columns = slice(j * stride.columns, (j + 1) * stride.columns)
            overscan = (raw_rows, slice(right, right + stride.overscan)) if stride.overscan else None
            amplifiers.append(
                Amplifier((raw_rows, slice(left, right)), overscan, (rows, columns), gain, read_noise)
            )
    shape = (up * stride.rows, across * stride.columns)
    return Geometry(stride.raw_shape(readout.amplifiers), shape, tuple(amplifiers))
