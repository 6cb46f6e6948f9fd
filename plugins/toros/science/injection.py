"""Artificial stars: how faint a change may be before it is missed.

Stars of known flux are added to a frame before the reference is subtracted, some at random and some where their
hosts are. The part of them that is found again, by brightness, is the efficiency of the search (Frohmaier et al.
2017, ApJS 230, 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.errors import BadParameters
from toros.science.flags import MaskPlane
from toros.science.image import Image
from toros.science.plate_matching import nearest_pairs
from toros.science.psf import Psf, light_in
from toros.science.shapes import FWHM_OF_SIGMA
from toros.science.sources import SourceFlag
from toros.science.stamps import parts_of, stamps_at

Values = NDArray[np.float64]

_AT_HOSTS = 0.5
"""Part of the injections that is placed on extended sources, if there are any."""

_APART = 8.0
"""Least distance of two injections, and three times that of one from the edge, in units of the FWHM."""

_CLEAN = 1.0
"""No pixel within so many FWHM may be flagged."""

_TRIALS = 30
"""Places that are tried for each injection."""

_DRAWN = 5.0
"""Injections are drawn out to so many FWHM."""

_HALF = 0.5


@dataclass(frozen=True, eq=False)
class Injections:
    """Artificial stars.

    Parameters
    ----------
    x, y : ndarray of float64
        0-based px.
    flux : ndarray of float64
        Electron.
    host : ndarray of intp
        Row of the source that each one is placed on, -1 without a host.
    """

    x: Values
    y: Values
    flux: Values
    host: NDArray[np.intp]

    def __len__(self) -> int:
        return self.x.size


@dataclass(frozen=True, eq=False)
class Recovery:
    """Which injections were found.

    Parameters
    ----------
    found : ndarray of bool, shape (n,)
        Of each injection.
    edges : ndarray of float64, shape (bins + 1,)
        Of the bins of brightness, rising.
    count : ndarray of int, shape (bins,)
        Injections in each bin.
    efficiency : ndarray of float64, shape (bins,)
        Part of them that was found; not a number in an empty bin.
    half : float
        Brightness at which half of them are found, the faintest such if there are several; not a number if
        the efficiency does not cross it.
    """

    found: NDArray[np.bool_]
    edges: Values
    count: NDArray[np.intp]
    efficiency: Values
    half: float


def plan_injections(
    rng: np.random.Generator,
    sources: Mapping[str, Any] | QTable,
    mask: MaskPlane,
    psf: Psf,
    count: int,
    flux_range: tuple[float, float],
) -> Injections:
    """Choose places and fluxes of artificial stars.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    sources : QTable
        Of the frame: x, y, fwhm (px), ellipticity, angle (deg), flags (`SourceFlag`). Half of the injections lie
        on the extended ones, and follow their light.
    mask : ndarray of uint8, shape (ny, nx)
        Bits of `PixelFlag`; no injection lies on flagged pixels.
    psf : Psf
        Of the frame.
    count : int
        Injections wanted. In a crowded plan there are fewer: none lies upon another.
    flux_range : (float, float)
        Electron; fluxes are spread evenly in their logarithm.

    Returns
    -------
    Injections

    Raises
    ------
    BadParameters
        If the range of fluxes makes no sense.
    """
    faint, bright = flux_range
    if not 0 < faint <= bright:
        raise BadParameters(f"no stars between {faint} and {bright} electrons can be injected")
    x, y, host = _proposed(rng, sources, mask.shape, _TRIALS * count)
    allowed = np.flatnonzero(_is_clean(mask, psf.fwhm, x, y))
    chosen = _apart(x[allowed], y[allowed], host[allowed] >= 0, _APART * psf.fwhm, count)
    chosen = allowed[chosen]
    flux = faint * (bright / faint) ** rng.random(chosen.size)
    return Injections(x[chosen], y[chosen], flux, host[chosen])


def inject(image: Image, psf: Psf, x: Values, y: Values, flux: Values, rng: np.random.Generator) -> None:
    """Add stars with the noise of their photons to a frame and to its variance, in place.

    Parameters
    ----------
    image : Image
        Electron.
    psf : Psf
        Of the frame.
    x, y, flux : ndarray of float64, shape (n,)
        0-based px, and electrons.
    rng : Generator
        Draws the photons.
    """
    radius = int(np.ceil(_DRAWN * psf.fwhm))
    for part in parts_of(np.arange(x.size), (2 * radius + 1) ** 2):
        stamps = stamps_at(image.shape, x[part], y[part], radius)
        photons = rng.poisson(np.maximum(light_in(stamps, psf, x[part], y[part], flux[part]), 0))
        for plane in (image.data, image.variance):
            np.add.at(
                plane.reshape(-1), stamps.index[stamps.inside], photons[stamps.inside].astype(np.float32)
            )


def recovery(
    injections: Injections, brightness: Values, found: Values, *, radius: float, edges: Values
) -> Recovery:
    """Tell which injections were found, and how the efficiency falls with brightness.

    Parameters
    ----------
    injections : Injections
    brightness : ndarray of float64, shape (n,)
        Of the injections: a signal-to-noise ratio or a magnitude.
    found : ndarray of float64, shape (m, 2)
        Places x, y (0-based px) of what was found; each counts once.
    radius : float
        px within which it is the injection.
    edges : ndarray of float64, shape (bins + 1,)
        Of the bins of brightness, rising.

    Returns
    -------
    Recovery
    """
    edges = np.asarray(edges, np.float64)
    if edges.size < 2 or not (np.diff(edges) > 0).all():
        raise BadParameters("the edges of the bins of brightness must rise")
    seen = np.zeros(len(injections), np.bool_)
    if len(injections) and len(found):
        places = np.column_stack([injections.x, injections.y])
        seen[nearest_pairs(cKDTree(places), np.asarray(found, np.float64), radius)[0]] = True
    count = np.histogram(brightness, edges)[0].astype(np.intp)
    recovered = np.histogram(brightness[seen], edges)[0]
    efficiency = np.divide(recovered, count, where=count > 0, out=np.full(count.size, np.nan))
    return Recovery(seen, edges, count, efficiency, _half_efficiency(edges, efficiency))


def _proposed(
    rng: np.random.Generator, sources: Mapping[str, Any] | QTable, shape: tuple[int, ...], count: int
) -> tuple[Values, Values, NDArray[np.intp]]:
    """Return places with hosts and without in turn, by the half."""
    x, y = rng.uniform(0, shape[1] - 1, count), rng.uniform(0, shape[0] - 1, count)
    host = np.full(count, -1, np.intp)
    extended = np.flatnonzero(np.asarray(sources["flags"]) & int(SourceFlag.EXTENDED))
    if extended.size:
        chosen = np.flatnonzero(rng.random(count) < _AT_HOSTS)
        host[chosen] = rng.choice(extended, chosen.size)
        x[chosen], y[chosen] = _within_hosts(rng, sources, host[chosen])
    return x, y, host


def _within_hosts(
    rng: np.random.Generator, sources: Mapping[str, Any] | QTable, host: NDArray[np.intp]
) -> tuple[Values, Values]:
    """Draw places as the light of the hosts is spread: a normal profile of their width, shape and direction."""
    x, y, fwhm, ellipticity, angle = (
        np.asarray(getattr(sources[name], "value", sources[name]), np.float64)[host]
        for name in ("x", "y", "fwhm", "ellipticity", "angle")
    )
    sigma, ratio = fwhm / FWHM_OF_SIGMA, np.sqrt(1 - ellipticity.clip(0, 0.95))
    along, across = rng.standard_normal((2, host.size)) * np.stack([sigma / ratio, sigma * ratio])
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return x + along * cos - across * sin, y + along * sin + across * cos


def _is_clean(mask: MaskPlane, fwhm: float, x: Values, y: Values) -> NDArray[np.bool_]:
    """Tell which places are well inside the frame and free of flagged pixels."""
    margin = _APART / 3 * fwhm
    inside = (x > margin) & (y > margin) & (x < mask.shape[1] - 1 - margin) & (y < mask.shape[0] - 1 - margin)
    clean = inside.copy()
    for part in parts_of(np.flatnonzero(inside), int(2 * _CLEAN * fwhm + 3) ** 2):
        stamps = stamps_at(mask.shape, x[part], y[part], int(np.ceil(_CLEAN * fwhm)))
        clean[part] = ~stamps.cut(mask).any(axis=(1, 2))
    return np.asarray(clean)


def _apart(
    x: Values, y: Values, with_host: NDArray[np.bool_], distance: float, count: int
) -> NDArray[np.intp]:
    """Take places in their order that are far from those taken before, as many with hosts as without if there are."""
    places = np.column_stack([x, y])
    taken = np.empty(0, np.intp)
    for kind, wanted in ((with_host, count // 2), (np.ones_like(with_host), count)):
        for place in np.flatnonzero(kind):
            if taken.size >= wanted:
                break
            if (np.square(places[taken] - places[place]).sum(axis=1) >= distance**2).all():
                taken = np.append(taken, place)
    return taken


def _half_efficiency(edges: Values, efficiency: Values) -> float:
    """Return where the efficiency crosses one half, linear between the middles of the bins; the last crossing."""
    known = np.isfinite(efficiency)
    middle, excess = ((edges[1:] + edges[:-1]) / 2)[known], efficiency[known] - _HALF
    crossings = np.flatnonzero((excess[1:] >= 0) != (excess[:-1] >= 0))
    if not crossings.size:
        return float("nan")
    rises = excess[crossings + 1] >= 0  # towards larger numbers: a signal-to-noise ratio, not a magnitude
    at = crossings[0] if rises[0] else crossings[-1]
    part = excess[at] / (excess[at] - excess[at + 1])
    return float(middle[at] + part * (middle[at + 1] - middle[at]))
