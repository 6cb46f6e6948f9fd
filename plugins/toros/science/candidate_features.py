"""What tells a new star from an artefact, in numbers without a scale.

Lengths are in units of the FWHM, brightness in units of the noise or of other light, so that a classifier that
was trained on one camera can judge the candidates of another. The choice follows Bloom et al. 2012 (PASP 124, 1175),
Goldstein et al. 2015 (AJ 150, 82) and, for this observatory, Sanchez et al. 2019 (A&C 28, 100284).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.errors import WrongGeometry
from toros.science.flags import PixelFlag, is_flagged
from toros.science.image import Image
from toros.science.psf import Psf, light_in
from toros.science.stamps import Stamps, parts_of, stamps_at

Values = NDArray[np.float64]
Plane = NDArray[np.float32]

FEATURE_NAMES = (
    "snr",
    "chi2",
    "concentration",
    "fwhm",
    "ellipticity",
    "asymmetry",
    "dipole",
    "negative_pixels",
    "negative_light",
    "flagged_pixels",
    "saturated_pixels",
    "compactness",
    "halo",
    "halo_scatter",
    "halo_outliers",
    "profile_match",
    "source_distance",
    "source_contrast",
    "glare",
    "reference_snr",
    "change",
    "shift",
    "shift_excess",
    "science_snr",
    "crowd",
)
"""Columns of `candidate_features`, in their order.

snr : log10 of the signal-to-noise ratio
chi2 : log10, of the fit
concentration : log2 of the light of the brightest pixel over that of the fitted profile
fwhm : log2, in units of the stars'
ellipticity : 1 - minor / major axis
asymmetry : part of the stamp's power that changes sign by half a turn
dipole : light of the stamp's first moment over its light, in units of the FWHM
negative_pixels : part of the pixels within 1.5 FWHM below -2 sigma
negative_light : light of the pixels below -1 sigma over that above 1 sigma, within 2 FWHM
flagged_pixels : part of the pixels within 1.6 FWHM
saturated_pixels : part of the pixels within 3 FWHM
compactness : light within half a FWHM over that within one FWHM, in units of the profile's
halo : mean from 1.5 to 3 FWHM, sigma
halo_scatter : log2 of the standard deviation there, sigma
halo_outliers : part of the pixels there beyond 3 sigma
profile_match : correlation with the point-spread function within 1.5 FWHM
source_distance : of the nearest source of the reference, in FWHM, at most 10
source_contrast : log10 of that source's flux over the candidate's
glare : log10 of the largest flux over squared distance (FWHM) of sources within 30 FWHM, over the candidate's flux
reference_snr : asinh of the light of the reference in the profile, in units of the noise
change : the candidate's flux over itself plus the light of the reference in the profile
shift : log10 of the displacement (px) of the reference that would make the candidate
shift_excess : the same, less the median of all candidates of the frame within 1.5 FWHM of a source
science_snr : asinh of the light of the science frame in the profile, in units of the noise
crowd : log2 of 1 + the number of other candidates within 10 FWHM
"""

_REACH = 3.0
_FAR = 10.0
_GLARE = 30.0
_MOST = 5.0
"""Logarithms and correlations without a limit of their own are cut at plus and minus this."""

_ON_SOURCE = 1.5
_TINY = 1e-6


def candidate_features(
    science: Image,
    reference: Image,
    difference: Image,
    candidates: QTable,
    sources: Mapping[str, Any] | QTable,
    psf: Psf,
) -> Plane:
    """Describe candidates for a classifier.

    Parameters
    ----------
    science, reference, difference : Image
        On one grid; electron on the scale of the science frame. A constant sky may be in the first two.
    candidates : QTable
        As `toros.science.candidates.find_candidates` returns it: all of the frame, because they tell of each other.
    sources : QTable
        Of the reference, on the grid of the science frame: x, y (0-based px), flux_psf (electron).
    psf : Psf
        Of the difference.

    Returns
    -------
    ndarray of float32, shape (n, `len(FEATURE_NAMES)`)
        All numbers finite.

    Raises
    ------
    WrongGeometry
        If the images are not of one shape.
    """
    if not science.shape == reference.shape == difference.shape:
        raise WrongGeometry(
            f"science, reference, difference have {science.shape}, {reference.shape}, {difference.shape} pixels"
        )
    images = science, reference, difference
    radius = int(np.ceil(_REACH * psf.fwhm))
    parts = [
        _Look(images, candidates[part], psf, radius).features()
        for part in parts_of(np.arange(len(candidates)), (2 * radius + 1) ** 2)
    ]
    columns = _from_table(candidates, psf.fwhm) | _surroundings(candidates, sources, psf.fwhm)
    for name in parts[0] if parts else ():
        columns[name] = np.concatenate([part[name] for part in parts])
    if not parts:
        return np.zeros((0, len(FEATURE_NAMES)), np.float32)
    on_source = columns["source_distance"] < _ON_SOURCE
    columns["shift_excess"] = columns["shift"] - (
        np.median(columns["shift"][on_source]) if on_source.any() else 0
    )
    table = np.column_stack([columns[name] for name in FEATURE_NAMES])
    return table.astype(np.float32)


def _from_table(candidates: QTable, fwhm: float) -> dict[str, Values]:
    """Return what was measured already, on scales that suit."""
    width = np.nan_to_num(np.asarray(candidates["fwhm"].value) / fwhm)
    return {
        "snr": _log(np.asarray(candidates["snr"])),
        "chi2": _log(np.asarray(candidates["chi2"])),
        "concentration": _log(np.asarray(candidates["concentration"])) / np.log10(2),
        "fwhm": _log(width) / np.log10(2),
        "ellipticity": np.nan_to_num(np.asarray(candidates["ellipticity"]), nan=1.0),
    }


def _surroundings(candidates: QTable, sources: Mapping[str, Any] | QTable, fwhm: float) -> dict[str, Values]:
    """Return what other sources and candidates say."""
    places = np.column_stack([_plain(candidates[axis]) for axis in "xy"])
    flux = np.maximum(np.abs(_plain(candidates["flux"])), _TINY)
    columns = {
        "source_distance": np.full(len(places), _FAR),
        "source_contrast": np.full(len(places), -_MOST),
        "glare": np.full(len(places), -_MOST),
    }
    own = cKDTree(places)
    near = own.query_ball_point(places, _FAR * fwhm, return_length=True)
    columns["crowd"] = np.log2(np.maximum(near, 1))
    light = _plain(sources["flux_psf"])
    shining = light > 0
    stars, light = np.column_stack([_plain(sources[axis]) for axis in "xy"])[shining], light[shining]
    if not len(stars) or not len(places):
        return columns
    tree = cKDTree(stars)
    distance, nearest = tree.query(places, distance_upper_bound=_FAR * fwhm)
    with_source = np.isfinite(distance)
    columns["source_distance"][with_source] = distance[with_source] / fwhm
    columns["source_contrast"][with_source] = _log(light[nearest[with_source]] / flux[with_source])
    pairs = own.sparse_distance_matrix(tree, _GLARE * fwhm, output_type="ndarray")
    glare = np.zeros(len(places))
    apart = np.maximum(pairs["v"] / fwhm, 1)
    np.maximum.at(glare, pairs["i"], light[pairs["j"]] / apart**2)
    columns["glare"] = _log(glare / flux)
    return columns


class _Look:
    """The stamps of some candidates in all three images, the candidate upright: what has faded is turned over."""

    def __init__(self, images: tuple[Image, Image, Image], candidates: QTable, psf: Psf, radius: int) -> None:
        science, reference, difference = images
        x, y = _plain(candidates["x"]), _plain(candidates["y"])
        self.fwhm, self.radius = psf.fwhm, radius
        self.stamps: Stamps = stamps_at(difference.shape, x, y, radius)
        self.mask = self.stamps.cut(difference.mask)
        self.good = self.stamps.inside & (self.mask == 0)
        variance = np.maximum(self.stamps.cut(difference.variance), np.float32(_TINY))
        self.variance = variance
        sign = np.asarray(candidates["sign"], np.float32)[:, np.newaxis, np.newaxis]
        self.data = np.where(self.good, sign * self.stamps.cut(difference.data), np.float32(0))
        self.snr = self.data / np.sqrt(variance)
        self.science, self.reference = (
            self._without_sky(self.stamps.cut(image.data)) for image in (science, reference)
        )
        self.profile = light_in(self.stamps, psf, x, y, np.ones(x.size))
        self.distance = np.hypot(self.stamps.dx[:, np.newaxis], self.stamps.dy[:, :, np.newaxis]) / self.fwhm
        self.flux = np.maximum(np.abs(_plain(candidates["flux"])), _TINY)

    def features(self) -> dict[str, Values]:
        """Return the columns that come from pixels."""
        return (
            self._symmetry() | self._signs() | self._flags() | self._profile() | self._halo() | self._light()
        )

    def _without_sky(self, values: Plane) -> Plane:
        """Take the median of the rim of each stamp out of it."""
        rim = np.ones(values.shape[1:], np.bool_)
        rim[1:-1, 1:-1] = False
        sky = np.median(values[:, rim], axis=1)
        return np.asarray(values - sky[:, np.newaxis, np.newaxis], np.float32)

    def _within(self, radius: float) -> NDArray[np.bool_]:
        return np.asarray(self.good & (self.distance <= radius))

    def _symmetry(self) -> dict[str, Values]:
        inner = np.where(self.distance <= 1.5, self.snr, np.float32(0))
        odd = 0.5 * (inner - inner[:, ::-1, ::-1])
        light = np.maximum(_sum(np.abs(self.data) * (self.distance <= 2)), _TINY)
        weighted = self.data * (self.distance <= 2)
        first = np.hypot(
            _sum(weighted * self.stamps.dx[:, np.newaxis]), _sum(weighted * self.stamps.dy[:, :, np.newaxis])
        )
        return {
            "asymmetry": _ratio(_sum(np.square(odd)), _sum(np.square(inner))),
            "dipole": first / light / self.fwhm,
        }

    def _signs(self) -> dict[str, Values]:
        core, wide = self._within(1.5), self._within(2.0)
        below, above = (
            _sum(np.where(wide & (sign * self.snr > 1), np.abs(self.data), np.float32(0))) for sign in (-1, 1)
        )
        return {
            "negative_pixels": _ratio(_sum(core & (self.snr < -2)), _sum(core)),
            "negative_light": _ratio(below, above + below),
        }

    def _flags(self) -> dict[str, Values]:
        core, wide = self.distance <= 1.6, self.distance <= _REACH
        saturated = is_flagged(self.mask, PixelFlag.SATURATED) & self.stamps.inside
        return {
            "flagged_pixels": _ratio(_sum(core & ~self.good), _sum(core)),
            "saturated_pixels": _ratio(_sum(wide & saturated), _sum(wide)),
        }

    def _profile(self) -> dict[str, Values]:
        narrow, wide = self._within(0.5), self._within(1.0)
        measured = _ratio(_sum(self.data * narrow), _sum(self.data * wide)).clip(-2, 4)
        expected = _ratio(_sum(self.profile * narrow), _sum(self.profile * wide))
        inner = self._within(1.5)
        data, profile = (np.where(inner, plane, np.float32(0)) for plane in (self.data, self.profile))
        power = np.sqrt(_sum(np.square(data)) * _sum(np.square(profile)))
        return {
            "compactness": _ratio(measured, expected).clip(-_MOST, _MOST),
            "profile_match": _ratio(_sum(data * profile), power),
        }

    def _halo(self) -> dict[str, Values]:
        ring = self._within(_REACH) & (self.distance > 1.5)
        count = np.maximum(_sum(ring), 1)
        values = np.where(ring, self.snr, np.float32(0)).clip(-100, 100)
        mean = _sum(values) / count
        spread = np.sqrt(np.maximum(_sum(np.square(values)) / count - mean**2, 0))
        return {
            "halo": mean.clip(-_MOST, _MOST),
            "halo_scatter": _log(spread) / np.log10(2),
            "halo_outliers": _sum(ring & (np.abs(self.snr) > 3)) / count,
        }

    def _light(self) -> dict[str, Values]:
        inner = self._within(1.5)
        weight = np.where(inner, self.profile / self.variance, np.float32(0))
        power = np.maximum(_sum(weight * self.profile), 1e-12)
        science, reference = (_sum(weight * plane) / power for plane in (self.science, self.reference))
        down, across = np.gradient(self.reference, axis=(1, 2))
        steepest = np.where(self.distance <= 1, np.hypot(down, across), np.float32(0)).max(axis=(1, 2))
        height = self.flux * self.profile.max(axis=(1, 2))
        return {
            "science_snr": np.arcsinh(science * np.sqrt(power)),
            "reference_snr": np.arcsinh(reference * np.sqrt(power)),
            "change": self.flux / (self.flux + np.maximum(reference, 0)),
            "shift": _log(height / np.maximum(steepest, _TINY)),
        }


def _plain(column: Any) -> Values:
    """Return a column as plain numbers, whether or not it has a unit."""
    return np.asarray(getattr(column, "value", column), np.float64)


def _sum(stamps: NDArray[Any]) -> Values:
    return np.asarray(stamps.sum(axis=(1, 2), dtype=np.float64))


def _ratio(part: Values, whole: Values) -> Values:
    """Return a ratio, zero where there is nothing to compare with."""
    return np.divide(part, whole, where=np.abs(whole) > 1e-12, out=np.zeros_like(part))


def _log(values: Values) -> Values:
    """Return logarithms to the base of ten, within limits that any number has."""
    return np.log10(np.maximum(np.nan_to_num(values, posinf=10**_MOST), 10**-_MOST)).clip(-_MOST, _MOST)
