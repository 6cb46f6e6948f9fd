"""Everything that is to be measured of the sources of one frame."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.errors import BadParameters, WrongGeometry
from toros.science.aperture import Apertures, CurveOfGrowth, aperture_sums, grow_curve
from toros.science.background import Background, estimate_background
from toros.science.companions import find_companions
from toros.science.detect import FIRST_FWHM, Detections, detect, estimate_fwhm
from toros.science.flags import MaskPlane, PixelFlag, is_flagged, raise_flag
from toros.science.psf import Psf, guess_psf, light_in
from toros.science.psf_fit import PsfFit, fit_sources
from toros.science.psf_stars import measure_psf
from toros.science.saturated import Saturated, find_saturated
from toros.science.shapes import Shapes, StarShape, measure_shapes
from toros.science.stamps import stamps_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

APERTURES = (0.75, 1.0, 1.5, 2.0, 3.0)
"""Radii of the apertures, in units of the FWHM of the frame."""

CORRECTED = 2
"""Which of the apertures is corrected to the whole light."""

_KEPT = 0.8
"""A source stays if its fitted flux has at least this part of the threshold: the peak was chosen for its height."""

_CELL = 10.0
"""Least side of the cells of the background, in units of the FWHM."""

_SAME = 0.5
"""Two sources nearer than so many FWHM are one."""

_NEIGHBOUR = 2.5
"""A source is blended if a neighbour is within so many FWHM ..."""

_NEIGHBOUR_FLUX = 0.05
"""... and has at least this part of its flux."""

_CORE = 1.6
"""Flags of pixels within so many FWHM of a source are its flags."""

_EXTENDED = 1.3
_POOR_FIT = 3.0
_LOOKS = 2
"""Rounds in which hidden companions are looked for."""

_PSF_STARS = 250
_FEW_PSF_STARS = 10
_VARIANCE_STEP = 5
_CHUNK_PIXELS = 1 << 18


class SourceFlag(enum.IntFlag):
    """What is to be known about a source before its numbers are used. A bit never changes its meaning."""

    SATURATED = 1
    """Its core is saturated: position and flux come from its wings."""

    EDGE = 2
    """The edge of the frame cuts it."""

    BLENDED = 4
    """A neighbour overlaps it; both were fitted together."""

    BAD_PIXELS = 8
    """There are hot, dead or noisy pixels in it, or some without data; the fit left them out."""

    COSMIC_RAY = 16
    """A cosmic ray hit it; the fit left these pixels out."""

    POOR_FIT = 32
    """It does not look like a star: the fit is poor."""

    EXTENDED = 64
    """It is broader than the stars."""


_FLAG_OF_PIXEL = {
    PixelFlag.HOT | PixelFlag.DEAD | PixelFlag.NOISY | PixelFlag.NO_DATA: SourceFlag.BAD_PIXELS,
    PixelFlag.COSMIC_RAY: SourceFlag.COSMIC_RAY,
    PixelFlag.SATURATED: SourceFlag.SATURATED,
}


@dataclass(frozen=True, eq=False)
class Measurement:
    """The sources of a frame, and the frame as a whole.

    Parameters
    ----------
    sources : QTable
        The brightest first; its columns are explained in `measure_sources`.
    background : Background
        The sky.
    psf : Psf
        Point-spread function; a guess if it was measured from no stars.
    curve : CurveOfGrowth
        Aperture corrections; not numbers without stars.
    n_stars : int
        Sources that look like stars and carry no flag but BLENDED.
    limiting_flux : float
        Flux that would be measured at 5 sigma where the sky is typical, electron.
    saturated_fraction : float
        Part of the pixels that are saturated.
    noise_ratio : float
        Variance of the sky as measured over that stated by the variance plane; 1 if gain and read noise are right.
    """

    sources: QTable
    background: Background
    psf: Psf
    curve: CurveOfGrowth
    n_stars: int
    limiting_flux: float
    saturated_fraction: float
    noise_ratio: float

    @property
    def star_shape(self) -> StarShape:
        """FWHM (px), ellipticity and angle of the stars in the middle of the frame; of a trailed frame, its trail."""
        return self.psf.middle


@dataclass(frozen=True, eq=False)
class _Sky:
    """Noise of the sky around any position: shaped as the variance plane says, as large as it is measured."""

    modelled: Background
    step: int
    ratio: float

    def noise_at(self, x: Values, y: Values) -> Values:
        variance = self.modelled.level_at(x / self.step, y / self.step) * self.ratio
        return np.asarray(np.sqrt(np.maximum(variance, 1e-12)))


def measure_sources(
    data: Plane,
    mask: MaskPlane,
    variance: Plane,
    *,
    saturation: float | None = None,
    threshold: float = 5.0,
    mesh: int = 64,
) -> Measurement:
    """Find and measure all sources of a frame.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Calibrated frame, sky included, electron.
    mask : ndarray of uint8
        Bits of `PixelFlag`.
    variance : ndarray of float32
        Of `data`, electron^2.
    saturation : float, optional
        Electrons from which on a pixel is taken for saturated, besides those flagged so.
    threshold : float
        Least signal-to-noise ratio of a detection.
    mesh : int
        Side of the cells of the background, px; at least 10 FWHM are taken.

    Returns
    -------
    Measurement
        Its table has the columns x, y (0-based) and their errors (px); flux_psf, from the fit of the
        point-spread function; flux_aper, of shape (n, 5), in circles of `APERTURES` FWHM without the light of
        neighbours; flux_aper_corrected, the third of them times the aperture correction; their errors
        (electron); snr, of flux_psf; fwhm (px), ellipticity, angle (of the major axis from +x towards +y,
        deg); flags (`SourceFlag`); background, background_rms (electron per px); chi2 of the fit, per
        degree of freedom. Without any source it is empty.

    Raises
    ------
    NoSky, NotFinite, WrongGeometry, BadParameters
        If the frame cannot be measured at all.
    """
    if variance.shape != data.shape or mask.shape != data.shape:
        raise WrongGeometry(f"frame, mask, variance have {data.shape}, {mask.shape}, {variance.shape} pixels")
    if not threshold > 0:
        raise BadParameters(f"a threshold of {threshold} sigma finds everything")
    if saturation is not None:
        mask = mask.copy()
        raise_flag(mask, data >= saturation, PixelFlag.SATURATED)
    background = estimate_background(data, mask, mesh=mesh)
    sky = _measure_sky(background, variance, mask, mesh)
    saturated_fraction = float(np.count_nonzero(is_flagged(mask, PixelFlag.SATURATED)) / mask.size)
    frame = background.subtracted(data)
    typical = estimate_fwhm(frame, mask, background) or StarShape(FIRST_FWHM, 0.0, 0.0, 0)
    if mesh < _CELL * typical.fwhm:  # the stars would lift the sky of their cells
        background = estimate_background(data, mask, mesh=round(_CELL * typical.fwhm))
        sky, frame = _measure_sky(background, variance, mask, mesh), background.subtracted(data)
    found = detect(
        frame,
        mask,
        background,
        fwhm=typical.fwhm,
        ellipticity=typical.ellipticity,
        angle=typical.angle,
        threshold=threshold,
    )
    psf = _measure_psf(frame, mask, sky, found, typical)
    bright = find_saturated(frame, mask, background, psf)
    found = found.without(bright.covers(found.x, found.y))
    fit = _fit_all(frame, mask, sky, psf, found, threshold)
    sources = _Sources(data, frame, mask, background, sky, psf, fit, bright, typical.fwhm)
    table, curve = sources.table()
    limiting_flux = 5 * background.rms * psf.noise_area**0.5
    n_stars = int(np.count_nonzero((table["flags"] & ~int(SourceFlag.BLENDED)) == 0))
    return Measurement(table, background, psf, curve, n_stars, limiting_flux, saturated_fraction, sky.ratio)


def _measure_sky(background: Background, variance: Plane, mask: MaskPlane, mesh: int) -> _Sky:
    """Compare the noise that is stated with the noise that is measured."""
    step = max(1, min(_VARIANCE_STEP, mesh // 8)) | 1  # odd: meets all colours of a Bayer pattern
    modelled = estimate_background(variance[::step, ::step], mask[::step, ::step], mesh=max(4, mesh // step))
    ny, nx = background.shape
    y, x = (part.ravel() for part in np.mgrid[0.5:16, 0.5:16] / 16 * np.array([ny, nx])[:, None, None])
    measured = np.square(background.noise_at(x, y))
    stated = modelled.level_at(x / step, y / step)
    ratio = float(np.median(measured / np.maximum(stated, 1e-12)))
    return _Sky(modelled, step, ratio)


def _measure_psf(frame: Plane, mask: MaskPlane, sky: _Sky, found: Detections, typical: StarShape) -> Psf:
    guess = guess_psf((frame.shape[0], frame.shape[1]), typical)
    chosen = _psf_stars(found, typical.fwhm)
    x, y = found.x[chosen], found.y[chosen]
    return measure_psf(frame, mask, sky.noise_at(x, y), x, y, found.flux[chosen], guess)


def _psf_stars(found: Detections, fwhm: float) -> NDArray[np.intp]:
    """Choose bright stars without neighbours; fainter and less lonely ones where there are few."""
    if not len(found):
        return np.zeros(0, np.intp)
    places = np.column_stack([found.x, found.y])
    tree = cKDTree(places)
    for snr, distance in ((40.0, 5.0), (25.0, 4.0), (15.0, 3.0), (8.0, 2.5)):
        candidates = np.flatnonzero(found.snr > snr)[: 4 * _PSF_STARS]
        near = tree.query_ball_point(places[candidates], distance * fwhm)
        lonely = [
            star
            for star, neighbours in zip(candidates, near, strict=True)
            if found.flux[neighbours].sum() < 1.05 * found.flux[star]
        ]
        if len(lonely) >= _FEW_PSF_STARS:
            break
    return np.array(lonely[:_PSF_STARS], np.intp)


def _fit_all(
    frame: Plane, mask: MaskPlane, sky: _Sky, psf: Psf, found: Detections, threshold: float
) -> PsfFit:
    """Fit all sources that are not saturated; drop what is not significant, add what was hidden, fit again."""
    noise = sky.noise_at(found.x, found.y)
    fit = fit_sources(frame, mask, noise, psf, found.x, found.y, found.flux, passes=1)
    kept = fit.flux > _KEPT * threshold * fit.flux_err
    kept &= np.hypot(fit.x - found.x, fit.y - found.y) < psf.fwhm
    kept &= ~_doubles(fit, _SAME * psf.fwhm)
    fit.put_back(frame, psf)
    x, y, flux = fit.x[kept], fit.y[kept], fit.flux[kept]
    for _ in range(_LOOKS):
        fit = fit_sources(frame, mask, sky.noise_at(x, y), psf, x, y, flux, passes=1)
        hidden = find_companions(frame, mask, psf, fit, threshold)
        if not hidden[0].size:
            break
        fit.put_back(frame, psf)
        x, y, flux = (
            np.concatenate([ours, theirs])
            for ours, theirs in zip((fit.x, fit.y, fit.flux), hidden, strict=True)
        )
    else:
        fit = fit_sources(frame, mask, sky.noise_at(x, y), psf, x, y, flux, passes=1)
    return fit


def _doubles(fit: PsfFit, distance: float) -> NDArray[np.bool_]:
    """Tell which sources are at the place of a brighter one."""
    double = np.zeros(fit.x.size, np.bool_)
    pairs = cKDTree(np.column_stack([fit.x, fit.y])).query_pairs(distance, output_type="ndarray")
    if len(pairs):
        one, other = pairs.T
        double[np.where(fit.flux[one] < fit.flux[other], one, other)] = True
    return double


class _Sources:
    """All sources, saturated ones at the end, each seen without the light of the others."""

    def __init__(
        self,
        data: Plane,
        remaining: Plane,
        mask: MaskPlane,
        background: Background,
        sky: _Sky,
        psf: Psf,
        fit: PsfFit,
        bright: Saturated,
        weight_fwhm: float,
    ) -> None:
        self.data, self.remaining, self.mask, self.background = data, remaining, mask, background
        self.psf, self.weight_fwhm = psf, weight_fwhm
        self.columns = {
            name: np.concatenate([getattr(fit, name), getattr(bright, name)])
            for name in ("x", "y", "x_err", "y_err", "flux", "flux_err", "chi2")
        }
        self.x, self.y, self.flux = (self.columns[name] for name in ("x", "y", "flux"))
        self.saturated = np.arange(self.x.size) >= fit.x.size
        self.noise = sky.noise_at(self.x, self.y)
        self.radii = tuple(factor * psf.fwhm for factor in APERTURES)

    def table(self) -> tuple[QTable, CurveOfGrowth]:
        """Return the table of all that is measured, and the aperture corrections."""
        apertures, shapes, flags = self._looked_at()
        flags |= self._crowding()
        snr = self.flux / self.columns["flux_err"]
        unlike = int(SourceFlag.SATURATED | SourceFlag.EDGE | SourceFlag.BLENDED | SourceFlag.BAD_PIXELS)
        unlike |= int(SourceFlag.COSMIC_RAY)
        clean = (flags & unlike) == 0
        fwhm = self._calibrated(shapes, clean & (snr > 20))
        extended = (fwhm > _EXTENDED * self.psf.fwhm) & (snr > 10)
        flags[extended] |= int(SourceFlag.EXTENDED)
        flags[self.columns["chi2"] > _POOR_FIT] |= int(SourceFlag.POOR_FIT)
        good = clean & ~extended
        for limit in (50.0, 20.0, 5.0):
            curve = grow_curve(apertures, self.flux, good & (snr > limit))
            if curve.n_stars >= _FEW_PSF_STARS:
                break
        order = np.argsort(-self.flux, kind="stable")
        electron = u.electron
        columns = {
            "x": self.x * u.pix,
            "y": self.y * u.pix,
            "x_err": self.columns["x_err"] * u.pix,
            "y_err": self.columns["y_err"] * u.pix,
            "flux_psf": self.flux * electron,
            "flux_psf_err": self.columns["flux_err"] * electron,
            "flux_aper": apertures.flux * electron,
            "flux_aper_err": apertures.flux_err * electron,
            "flux_aper_corrected": apertures.flux[:, CORRECTED] * curve.correction[CORRECTED] * electron,
            "flux_aper_corrected_err": apertures.flux_err[:, CORRECTED]
            * curve.correction[CORRECTED]
            * electron,
            "snr": snr,
            "fwhm": fwhm * u.pix,
            "ellipticity": shapes.ellipticity,
            "angle": shapes.angle * u.deg,
            "flags": flags,
            "background": self.background.level_at(self.x, self.y) * electron,
            "background_rms": self.background.noise_at(self.x, self.y) * electron,
            "chi2": self.columns["chi2"],
        }
        return QTable({name: column[order] for name, column in columns.items()}), curve

    def _looked_at(self) -> tuple[Apertures, Shapes, NDArray[np.int32]]:
        """Measure apertures, shapes and flags on stamps where the neighbours are gone."""
        side = int(np.ceil(max(self.radii) + 1))
        parts = [
            self._stamps(slice(start, start + max(1, _CHUNK_PIXELS // (2 * side + 1) ** 2)), side)
            for start in range(0, max(1, self.x.size), max(1, _CHUNK_PIXELS // (2 * side + 1) ** 2))
        ]
        flux, error, area = (np.concatenate([part[k] for part in parts]) for k in range(3))
        shapes = Shapes(
            *(
                np.concatenate([getattr(part[3], name) for part in parts])
                for name in ("x", "y", "xx", "yy", "xy")
            )
        )
        nothing = np.zeros(self.x.size)
        flags = np.concatenate([part[4] for part in parts])
        return Apertures(self.radii, flux, error, area, nothing, self.noise), shapes, flags

    def _stamps(self, part: slice, side: int) -> tuple[Values, Values, Values, Shapes, NDArray[np.int32]]:
        x, y = self.x[part], self.y[part]
        stamps, size = stamps_at(self.data.shape, x, y, side), 2 * side + 1
        own = light_in(stamps, self.psf, x, y, self.flux[part])
        rest, masked = stamps.cut(self.remaining), stamps.cut(self.mask)
        level = self.background.level_at(x, y).astype(np.float32)[:, np.newaxis, np.newaxis]
        all_light = np.maximum(stamps.cut(self.data) - rest - level, 0)  # neighbours add to the noise
        usable = stamps.inside & (masked == 0)
        values = own + np.where(usable, rest, np.float32(0))  # a masked pixel holds what the model says
        flux, error, area = (np.empty((x.size, len(self.radii))) for _ in range(3))
        for number, radius in enumerate(self.radii):
            cut = side - int(np.ceil(radius + 1))
            inner = slice(cut, size - cut)
            flux[:, number], light, area[:, number] = aperture_sums(
                [values[:, inner, inner], all_light[:, inner, inner], stamps.inside[:, inner, inner]],
                stamps.dx[:, inner],
                stamps.dy[:, inner],
                radius,
            )
            error[:, number] = np.sqrt(area[:, number] * self.noise[part] ** 2 + light)
        cut = side - min(side, int(np.ceil(2 * self.weight_fwhm)))
        inner = slice(cut, size - cut)
        shapes = measure_shapes(
            values[:, inner, inner], stamps.dx[:, inner], stamps.dy[:, inner], self.weight_fwhm
        )
        core = np.hypot(stamps.dx[:, np.newaxis], stamps.dy[:, :, np.newaxis]) <= _CORE * self.psf.fwhm
        flags = self.saturated[part] * np.int32(SourceFlag.SATURATED)
        for pixel, flag in _FLAG_OF_PIXEL.items():
            hit = (core & is_flagged(masked, pixel) & stamps.inside).any(axis=(1, 2))
            flags |= hit * np.int32(flag)
        flags |= (core & ~stamps.inside).any(axis=(1, 2)) * np.int32(SourceFlag.EDGE)
        return flux, error, area, shapes, flags

    def _crowding(self) -> NDArray[np.int32]:
        """Flag sources with neighbours that matter."""
        pairs = cKDTree(np.column_stack([self.x, self.y])).query_pairs(
            _NEIGHBOUR * self.psf.fwhm, output_type="ndarray"
        )
        blended = np.zeros(self.x.size, np.bool_)
        for one, other in (pairs.T, pairs.T[::-1]):
            blended[one[self.flux[other] > _NEIGHBOUR_FLUX * self.flux[one]]] = True
        return blended * np.int32(SourceFlag.BLENDED)

    def _calibrated(self, shapes: Shapes, stars: NDArray[np.bool_]) -> Values:
        """Return the sources' FWHM, on a scale where stars have that of the point-spread function."""
        measured = shapes.fwhm
        typical = np.nanmedian(measured[stars]) if stars.any() else self.weight_fwhm
        return measured * (self.psf.fwhm / typical)
