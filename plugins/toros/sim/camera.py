"""The camera of the simulated observatory: its data sheet, and its chip pixel by pixel.

The numbers of the ready-made cameras are typical of their type. They are not measurements of any one camera.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toros.errors import BadParameters
from toros.science.geometry import Amplifier, Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

ADU_MAX = 65535
"""Largest number that the 16-bit converter can give."""


@dataclass(frozen=True)
class Band:
    """A filter, with telescope, glass and chip folded into its zero point.

    Attributes
    ----------
    name : str
        What the FILTER card says.
    zero_point : float
        Magnitude of a source that gives one electron per second.
    sky : float
        Brightness of the dark sky, mag / arcsec^2.
    colour_term : float
        Magnitudes to add to a source's reference magnitude per magnitude of its colour.
    """

    name: str
    zero_point: float
    sky: float
    colour_term: float = 0.0


@dataclass(frozen=True)
class SimulatedCamera:
    """A CCD camera on its telescope. Pixel coordinates are 0-based, (rows, columns) = (y, x).

    Attributes
    ----------
    name : str
        Short name.
    instrument, telescope : str
        The INSTRUME and TELESCOP cards.
    shape : (int, int)
        Rows and columns of the trimmed frame.
    pixel_size, pixel_scale : float
        Micrometres and arcsec per pixel.
    gain, read_noise, full_well : float
        Electrons per ADU, electrons, electrons.
    bands : tuple of Band
        The filters in the wheel.
    amplifiers : (int, int)
        Amplifiers along y and x; each reads an equal block of the chip.
    overscan, gap : int
        Overscan columns after each amplifier's block; rows between the halves of the raw frame.
    gain_scatter : float
        Relative scatter of the amplifiers' gains about `gain`.
    bias_level : float
        ADU.
    bias_drift : float
        ADU, scatter of the level from frame to frame, for each amplifier.
    column_pattern : float
        ADU, fixed scatter from column to column.
    bias_slope : float
        ADU, rise of the bias from the first row to the last.
    dark_current : float
        e-/s of a good pixel at the set temperature.
    hot_fraction, hot_floor, hot_slope : float
        Fraction of hot pixels; e-/s of the faintest of them above the others; slope of their counts
        N(> rate).
    dead_fraction, noisy_fraction : float
        Fraction of pixels with nearly no response, and with several times the read noise.
    dead_columns : int
        Columns that are dead from some row to their end.
    response_scatter, vignetting : float
        Relative pixel-to-pixel scatter of the response; loss of light in the corners.
    dust_specks : int
        Dust rings per filter.
    set_temperature : float
        Degrees Celsius.
    readout_time : float
        Seconds from the end of an exposure to the start of the next.
    rotation : float
        Degrees, position angle of the detector's y axis (north through east).
    mirrored : bool
        Whether x grows to the east when y grows to the north (an odd number of mirrors).
    distortion : float
        Cubic radial distortion in px^-2: a position is displaced outwards by ``distortion * r**3`` px.
    seed : int
        Which copy of this camera: fixes every pixel's flaws.
    """

    name: str
    instrument: str
    telescope: str
    shape: tuple[int, int]
    pixel_size: float
    pixel_scale: float
    gain: float
    read_noise: float
    full_well: float
    bands: tuple[Band, ...]
    amplifiers: tuple[int, int] = (1, 1)
    overscan: int = 0
    gap: int = 0
    gain_scatter: float = 0.0
    bias_level: float = 1000.0
    bias_drift: float = 1.0
    column_pattern: float = 1.5
    bias_slope: float = 6.0
    dark_current: float = 0.1
    hot_fraction: float = 1e-3
    hot_floor: float = 1.0
    hot_slope: float = 1.2
    dead_fraction: float = 5e-5
    noisy_fraction: float = 1e-4
    dead_columns: int = 1
    response_scatter: float = 0.008
    vignetting: float = 0.15
    dust_specks: int = 12
    set_temperature: float = -20.0
    readout_time: float = 10.0
    rotation: float = 1.3
    mirrored: bool = True
    distortion: float = 1e-10
    seed: int = 0

    def __post_init__(self) -> None:
        if any(size % count for size, count in zip(self.shape, self.amplifiers, strict=True)):
            raise BadParameters(
                f"{self.shape} pixels cannot be shared equally by {self.amplifiers} amplifiers"
            )

    @property
    def raw_shape(self) -> tuple[int, int]:
        """Rows and columns of the file, overscan and gaps included."""
        (ny, nx), (amplifiers_y, amplifiers_x) = self.shape, self.amplifiers
        return ny + self.gap * (amplifiers_y - 1), nx + self.overscan * amplifiers_x

    def band(self, name: str) -> Band:
        """Return the filter of that name; raises `BadParameters` when it is not in the wheel."""
        for band in self.bands:
            if band.name == name:
                return band
        known = ", ".join(band.name for band in self.bands)
        raise BadParameters(f"no filter {name!r} in the wheel of {self.name}", advice=f"it has: {known}")


@dataclass(frozen=True, eq=False)
class Detector:
    """One chip, pixel by pixel: the truth that calibration has to find. Build it with `build_detector`.

    Attributes
    ----------
    camera : SimulatedCamera
        What it was built from.
    geometry : Geometry
        Sections, true gain and true read noise of each amplifier.
    response : float32 array, camera.shape
        Pixel-to-pixel response about 1; nearly 0 where dead.
    bias_columns, bias_rows, bias_amplifiers : float32 arrays
        ADU above the camera's bias level, by column, by row and by amplifier.
    hot, noisy : int arrays
        Flat indices into camera.shape.
    hot_rates, noisy_extra : float32 arrays
        e-/s and e- above those of a good pixel.
    dead : int array
        Flat indices of dead pixels, dead columns included.
    """

    camera: SimulatedCamera
    geometry: Geometry
    response: NDArray[np.float32]
    bias_columns: NDArray[np.float32]
    bias_rows: NDArray[np.float32]
    bias_amplifiers: NDArray[np.float32]
    hot: NDArray[np.intp]
    hot_rates: NDArray[np.float32]
    noisy: NDArray[np.intp]
    noisy_extra: NDArray[np.float32]
    dead: NDArray[np.intp]

    def dark_electrons(self, exptime: float) -> NDArray[np.float32]:
        """Return the expected dark charge (e-) after `exptime` seconds, as a new plane."""
        electrons = np.zeros(self.camera.shape, np.float32)
        self.add_dark(electrons, exptime)
        return electrons

    def add_dark(self, electrons: NDArray[np.float32], exptime: float) -> None:
        """Add the expected dark charge (e-) of `exptime` seconds to a plane, in place."""
        electrons += np.float32(self.camera.dark_current * exptime)
        electrons.reshape(-1)[self.hot] += self.hot_rates * np.float32(exptime)

    def bad_pixels(self) -> dict[str, NDArray[np.bool_]]:
        """Return the planes "hot", "dead" and "noisy" (bool, camera.shape)."""
        planes = {}
        for kind, where in (("hot", self.hot), ("dead", self.dead), ("noisy", self.noisy)):
            planes[kind] = np.zeros(self.camera.shape, bool)
            planes[kind].reshape(-1)[where] = True
        return planes


def azulcito(shape: tuple[int, int] = (4096, 4096), *, seed: int = 16803) -> SimulatedCamera:
    """TORITOS's camera: an Apogee Alta U16 behind a 16-inch f/10 telescope.

    A smaller `shape` gives a smaller chip of the same kind, `seed` another copy of it.
    """
    return SimulatedCamera(
        name="azulcito",
        instrument="Apogee Alta U16",
        telescope='Meade LX200 16"',
        shape=shape,
        pixel_size=9.0,
        pixel_scale=0.457,
        gain=1.5,
        read_noise=10.0,
        full_well=100_000.0,
        bands=(
            Band("Clear", 23.4, 21.3),
            Band("B", 22.0, 22.4, 0.9),
            Band("V", 22.2, 21.6, 0.4),
            Band("R", 22.4, 20.9, -0.2),
        ),
        dust_specks=max(2, 24 * shape[0] * shape[1] // 4096**2),
        seed=seed,
    )


def sta1600(scale: int = 1, *, seed: int = 1600) -> SimulatedCamera:
    """TOROS's camera: an STA1600LN read by 16 amplifiers behind a 0.6 m f/6.5.

    Parameters
    ----------
    scale : int
        Divides the amplifiers' 5280 x 1320 pixels, the overscan and the gap: 40 gives a frame of
        264 x 264 pixels with all 16 amplifiers.
    seed : int
        Which copy of the camera.
    """
    if scale < 1 or 1320 % scale:
        raise BadParameters(f"scale={scale} does not divide the 1320 columns of an amplifier")
    return SimulatedCamera(
        name="sta1600",
        instrument="STA1600LN",
        telescope="PlaneWave CDK24",
        shape=(10560 // scale, 10560 // scale),
        pixel_size=9.0,
        pixel_scale=0.4959,
        gain=0.38,
        read_noise=5.0,
        full_well=80_000.0,
        bands=(
            Band("g", 23.6, 22.1, 0.6),
            Band("r", 23.6, 21.1),
            Band("i", 23.2, 20.1, -0.3),
            Band("z", 22.4, 18.7, -0.5),
        ),
        amplifiers=(2, 8),
        overscan=max(180 // scale, 8),
        gap=max(40 // scale, 1),
        gain_scatter=0.02,
        bias_level=2000.0,
        bias_drift=4.0,
        dark_current=0.02,
        dead_columns=3,
        set_temperature=-100.0,
        readout_time=120.0,
        vignetting=0.2,
        dust_specks=max(2, 40 // scale**2),
        distortion=3e-11,
        seed=seed,
    )


def build_detector(camera: SimulatedCamera) -> Detector:
    """Make the chip of a camera, pixel by pixel; the same camera always gives the same chip."""
    rng = np.random.default_rng([camera.seed, *camera.shape])
    ny, nx = camera.shape
    geometry = _geometry(camera, rng)
    response = rng.standard_normal(camera.shape, dtype=np.float32)
    response *= np.float32(camera.response_scatter)
    response += 1
    dead = np.union1d(_some_pixels(camera.dead_fraction, ny * nx, rng), _dead_columns(camera, rng))
    response.reshape(-1)[dead] *= np.float32(0.02)
    hot = _some_pixels(camera.hot_fraction, ny * nx, rng)
    noisy = _some_pixels(camera.noisy_fraction, ny * nx, rng)
    along_columns = np.linspace(0.0, 1.0, ny)
    return Detector(
        camera=camera,
        geometry=geometry,
        response=response,
        bias_columns=(camera.column_pattern * rng.standard_normal(nx)).astype(np.float32),
        bias_rows=(camera.bias_slope * along_columns).astype(np.float32),
        bias_amplifiers=_amplifier_steps(camera, rng),
        hot=hot,
        # A pixel of 2000 e-/s saturates within a minute: the tail beyond makes no difference.
        hot_rates=np.minimum(camera.hot_floor * (1 + rng.pareto(camera.hot_slope, hot.size)), 2000.0).astype(
            np.float32
        ),
        noisy=noisy,
        noisy_extra=(camera.read_noise * rng.uniform(4.0, 15.0, noisy.size)).astype(np.float32),
        dead=dead,
    )


def _geometry(camera: SimulatedCamera, rng: np.random.Generator) -> Geometry:
    """Lay out the raw frame: blocks, each with overscan columns on its right, and gaps between their rows."""
    if camera.amplifiers == (1, 1) and not camera.overscan:
        return Geometry.single(camera.shape, gain=camera.gain, read_noise=camera.read_noise)
    height, width = (size // count for size, count in zip(camera.shape, camera.amplifiers, strict=True))
    amplifiers = []
    for j in range(camera.amplifiers[0]):
        rows = slice(j * (height + camera.gap), j * (height + camera.gap) + height)
        for i in range(camera.amplifiers[1]):
            left = i * (width + camera.overscan)
            amplifiers.append(
                Amplifier(
                    data=(rows, slice(left, left + width)),
                    overscan=(rows, slice(left + width, left + width + camera.overscan))
                    if camera.overscan
                    else None,
                    target=(slice(j * height, (j + 1) * height), slice(i * width, (i + 1) * width)),
                    gain=camera.gain * (1 + camera.gain_scatter * float(rng.uniform(-1.7, 1.7))),
                    read_noise=camera.read_noise * float(rng.uniform(0.95, 1.05)),
                )
            )
    return Geometry(raw_shape=camera.raw_shape, shape=camera.shape, amplifiers=tuple(amplifiers))


def _amplifier_steps(camera: SimulatedCamera, rng: np.random.Generator) -> NDArray[np.float32]:
    count = camera.amplifiers[0] * camera.amplifiers[1]
    return (0.02 * camera.bias_level * rng.standard_normal(count) * (count > 1)).astype(np.float32)


def _some_pixels(fraction: float, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return np.unique(rng.integers(0, size, rng.poisson(fraction * size)))


def _dead_columns(camera: SimulatedCamera, rng: np.random.Generator) -> NDArray[np.intp]:
    """Flat indices of the dead columns: a trap stops the charge of every row beyond it."""
    ny, nx = camera.shape
    columns = [
        np.ravel_multi_index((np.arange(rng.integers(ny // 4, ny), ny), rng.integers(nx)), camera.shape)
        for _ in range(camera.dead_columns)
    ]
    return np.concatenate(columns) if columns else np.empty(0, np.intp)


def without_flaws(camera: SimulatedCamera) -> SimulatedCamera:
    """Return the same camera with a perfect chip: no hot, dead or noisy pixels, even response, flat bias."""
    return dataclasses.replace(
        camera,
        hot_fraction=0.0,
        dead_fraction=0.0,
        noisy_fraction=0.0,
        dead_columns=0,
        response_scatter=0.0,
        column_pattern=0.0,
        bias_slope=0.0,
        dust_specks=0,
        vignetting=0.0,
    )
