"""Background, detection and photometry of one frame of the simulated sky, beside sep and photutils."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.unit import Bench, Case, Work, Wrong

_POINTING = (150.0, -30.0)
_SEEING = 1.3
_EXPTIME = 60.0
_MATCH = 2.0
"""Distance (px) at which a source is the one that was simulated."""

_COMPLETENESS = {(5, 6): 0.80, (6, 8): 0.95, (8, 12): 0.985}
_PSF_STARS = 200

Truth = dict[str, NDArray[Any]]


@cache
def _scene(size: int) -> dict[str, Any]:
    """Return a flat-fielded frame in electrons, its variance and mask, the noise of its sky, and its truth."""
    from toros.science.flags import PixelFlag
    from toros.sim import (
        Conditions,
        azulcito,
        build_detector,
        camera_wcs,
        illuminate,
        sky_field,
        take_light,
        without_flaws,
    )

    rng = np.random.default_rng(3)
    camera = without_flaws(azulcito((size, size)))
    sources = sky_field(*_POINTING, radius=0.75 * size * camera.pixel_scale / 3600)
    detector, band = build_detector(camera), camera.band("R")
    frame = take_light(
        detector,
        sources,
        camera_wcs(camera, *_POINTING),
        band,
        _EXPTIME,
        rng,
        conditions=Conditions(seeing=_SEEING, cosmic_ray_rate=0.0),
    )
    data = (frame.data.astype(np.float32) - np.float32(camera.bias_level)) * np.float32(camera.gain)
    flat = np.ones(camera.shape, np.float32)
    illuminate(flat, detector, band)
    variance = (np.maximum(data, 0) + np.float32(camera.read_noise**2)) / flat**2
    assert frame.truth is not None
    return {
        "data": (data - np.float32(camera.dark_current * _EXPTIME)) / flat,
        "variance": variance,
        "mask": frame.masks["saturated"] * np.uint8(PixelFlag.SATURATED),
        "noise": (frame.truth.meta["sky"] + camera.dark_current * _EXPTIME + camera.read_noise**2) ** 0.5,
        "fwhm": frame.truth.meta["fwhm"],
        "truth": {name: np.asarray(frame.truth[name]) for name in ("x", "y", "flux", "kind")},
    }


def _true_snr(scene: dict[str, Any]) -> NDArray[np.float64]:
    """Return the signal-to-noise ratio that the best possible photometry would give each source."""
    from toros.sim import Psf

    y, x = np.mgrid[-20:21, -20:21].astype(np.float32)
    profile = Psf(scene["fwhm"], ellipticity=0.02, angle=30.0)(x, y).astype(float)
    flux = scene["truth"]["flux"]
    variance = scene["noise"] ** 2 + flux[:, None, None] * profile
    return np.asarray(flux * np.sqrt((profile**2 / variance).sum(axis=(1, 2))))


def _searched(size: int, x: NDArray[Any], y: NDArray[Any]) -> tuple[str, bool]:
    """Say how many of the stars were found, and what else; and whether that is good enough."""
    scene = _scene(size)
    truth, snr = scene["truth"], _true_snr(scene)
    places = np.column_stack([truth["x"], truth["y"]])
    far, _ = cKDTree(np.column_stack([x, y])).query(places)
    inside = (places > 3).all(axis=1) & (places < size - 4).all(axis=1) & (truth["kind"] == "star")
    parts, fine = [], True
    for (low, high), least in _COMPLETENESS.items():
        chosen = inside & (snr >= low) & (snr < high)
        part = float(np.mean(far[chosen] < _MATCH))
        parts.append(f"{part:.3f}")
        fine &= part >= least
    distance, _ = cKDTree(places[snr > 2]).query(np.column_stack([x, y]))
    false = float(np.mean(distance > _MATCH))
    return f"complete {'/'.join(parts)}, {100 * false:.1f} % false", fine and false < 0.03


def _measured(
    size: int, x: NDArray[Any], y: NDArray[Any], flux: NDArray[Any], error: NDArray[Any], name: str
) -> tuple[str, bool]:
    """Say how isolated stars scatter about the truth, and whether the errors are honest."""
    scene = _scene(size)
    truth, snr = scene["truth"], _true_snr(scene)
    places = np.column_stack([truth["x"], truth["y"]])
    tree = cKDTree(places)
    distance, match = tree.query(np.column_stack([x, y]))
    near = tree.query_ball_point(places[match], 5 * scene["fwhm"])
    neighbours = np.array([truth["flux"][others].sum() for others in near]) - truth["flux"][match]
    saturated = scene["mask"][tuple(np.rint([y, x]).astype(int).clip(0, size - 1))] != 0
    good = (distance < _MATCH) & (truth["kind"][match] == "star") & ~saturated & (flux > 0)
    good &= (neighbours < 0.01 * truth["flux"][match]) & (snr[match] > 15)
    good &= (np.minimum(x, y) > 20) & (np.maximum(x, y) < size - 21)
    ratio = flux / truth["flux"][match]
    bright = good & (snr[match] > 100)
    zero_point = float(np.median(ratio[bright]))
    deviation = ratio / zero_point - 1
    scatter = float(1.4826 * np.median(np.abs(deviation[bright])))
    photons = float(np.median(1 / snr[match][bright]))
    chi2 = float(np.mean(np.square(deviation * flux / error)[good]))
    fine = scatter <= max(0.01, 1.1 * photons) and 0.9 <= chi2 <= 1.1
    return f"{name} {1e3 * scatter:.1f} mmag (photons {1e3 * photons:.1f}), chi2 {chi2:.2f}", fine


def _own(bench: Bench) -> Work:
    from toros.science.sources import measure_sources

    scene = _scene(bench.size)
    return lambda: measure_sources(scene["data"], scene["mask"], scene["variance"])


def _own_worth(measurement: Any) -> str:
    size, table = measurement.background.shape[0], measurement.sources
    x, y = table["x"].value, table["y"].value
    said = [_searched(size, x, y)]
    for column, name in (("flux_psf", "PSF"), ("flux_aper_corrected", "aperture")):
        flux, error = table[column].value, table[f"{column}_err"].value
        said.append(_measured(size, x, y, flux, error, name))
    remark = f"{len(table)} sources, " + ", ".join(text for text, _ in said)
    if size == 4096 and not all(fine for _, fine in said):
        raise Wrong(remark)
    return remark


def _quick_list(bench: Bench) -> Work:
    from toros.science.detect import find_stars

    scene = _scene(bench.size)
    return lambda: (bench.size, find_stars(scene["data"], scene["mask"]))


def _quick_list_worth(result: tuple[int, Any]) -> str:
    size, stars = result
    text, fine = _searched(size, stars.x, stars.y)
    truth = _scene(size)["truth"]
    distance, match = cKDTree(np.column_stack([truth["x"], truth["y"]])).query(
        np.column_stack([stars.x, stars.y])
    )
    bright = (distance < _MATCH) & (_true_snr(_scene(size))[match] > 50)
    rms = float(np.sqrt(np.mean(distance[bright] ** 2) / 2))
    if size == 4096 and not (fine and rms < 0.05):
        raise Wrong(f"{text}, positions of bright stars to {rms:.3f} px")
    return f"{text}, positions of bright stars to {rms:.3f} px"


def _sep(bench: Bench) -> Work:
    """Background, extraction, windowed positions and an aperture, as a user of sep writes it."""
    import sep

    scene = _scene(bench.size)
    sep.set_extract_pixstack(3_000_000)

    def work() -> tuple[int, Any, Any, Any, Any]:
        masked = scene["mask"] != 0
        background = sep.Background(scene["data"], mask=masked, bw=64, bh=64)
        residual = scene["data"] - background.back()
        rms = background.globalrms
        found = sep.extract(residual, 1.5, err=rms, mask=masked, minarea=5)
        x, y, _ = sep.winpos(residual, found["x"], found["y"], scene["fwhm"] / 2.355)
        flux, error, _ = sep.sum_circle(residual, x, y, 1.5 * scene["fwhm"], err=rms, gain=1.0, mask=masked)
        return bench.size, x, y, flux, error

    return work


def _dao(bench: Bench) -> Work:
    """Background2D, DAOStarFinder and apertures, as a user of photutils writes it."""
    from photutils.aperture import CircularAperture, aperture_photometry
    from photutils.background import Background2D
    from photutils.detection import DAOStarFinder

    scene = _scene(bench.size)

    def work() -> tuple[int, Any, Any, Any, Any]:
        masked = scene["mask"] != 0
        background = Background2D(scene["data"], 64, mask=masked)
        residual = scene["data"] - background.background
        table = DAOStarFinder(5 * background.background_rms_median, scene["fwhm"])(residual, mask=masked)
        x, y = (np.asarray(table[f"{axis}_centroid"]) for axis in "xy")
        sums = aperture_photometry(
            residual,
            CircularAperture(np.column_stack([x, y]), 1.5 * scene["fwhm"]),
            error=np.sqrt(scene["variance"]),
            mask=masked,
        )
        return bench.size, x, y, np.asarray(sums["aperture_sum"]), np.asarray(sums["aperture_sum_err"])

    return work


def _catalogue(bench: Bench) -> Work:
    """Background2D, SourceFinder and SourceCatalog on the matched-filtered frame."""
    from astropy.convolution import convolve
    from photutils.background import Background2D
    from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

    scene = _scene(bench.size)

    def work() -> tuple[int, Any, Any, Any, Any]:
        masked = scene["mask"] != 0
        background = Background2D(scene["data"], 64, mask=masked)
        residual = scene["data"] - background.background
        kernel = make_2dgaussian_kernel(scene["fwhm"], size=9)
        smooth = convolve(residual, kernel)
        limit = 5 * background.background_rms_median * float(np.sqrt(np.square(kernel.array).sum()))
        segments = SourceFinder(n_pixels=1, progress_bar=False)(smooth, limit, mask=masked)
        catalogue = SourceCatalog(
            residual, segments, convolved_data=smooth, error=np.sqrt(scene["variance"]), mask=masked
        )
        return (
            bench.size,
            catalogue.x_centroid,
            catalogue.y_centroid,
            catalogue.segment_flux,
            catalogue.segment_flux_err,
        )

    return work


def _psf_photometry(bench: Bench) -> Work:
    """PSFPhotometry with the true profile at the true places of some stars."""
    from astropy.modeling.models import Moffat2D
    from astropy.nddata import NDData, StdDevUncertainty
    from astropy.table import QTable
    from photutils.psf import PSFPhotometry, make_psf_model

    scene = _scene(bench.size)
    truth = scene["truth"]
    chosen = np.flatnonzero((_true_snr(scene) > 5) & (truth["kind"] == "star"))[:_PSF_STARS]
    start = QTable({f"{name}_init": truth[name][chosen] for name in ("x", "y", "flux")})
    profile = Moffat2D(gamma=scene["fwhm"] / (2 * np.sqrt(2 ** (1 / 3) - 1)), alpha=3.0)
    profile.gamma.fixed = profile.alpha.fixed = True
    model = make_psf_model(profile)
    data = NDData(
        scene["data"] - np.float32(np.median(scene["data"])),
        uncertainty=StdDevUncertainty(np.sqrt(scene["variance"])),
        mask=scene["mask"] != 0,
    )
    return lambda: PSFPhotometry(model, (9, 9), aperture_radius=4)(data, init_params=start)


def _rival_worth(result: tuple[int, Any, Any, Any, Any]) -> str:
    size, x, y, flux, error = (np.asarray(part) for part in result)
    found, _ = _searched(int(size), x, y)
    return f"{x.size} sources, {found}, {_measured(int(size), x, y, flux, error, 'aperture')[0]}"


CASES = (
    Case(
        "background, detection, aperture and PSF photometry of one frame",
        _own,
        limit=10,
        megabytes=300,
        library=_sep,
        remark=_own_worth,
    ),
    Case("list of stars for plate solving", _quick_list, limit=6, megabytes=200, remark=_quick_list_worth),
    Case("... sep: background, extract, winpos, one aperture", _sep, remark=_rival_worth),
    Case("... photutils: Background2D, DAOStarFinder, one aperture", _dao, remark=_rival_worth),
    Case("... photutils: Background2D, SourceFinder, SourceCatalog", _catalogue, remark=_rival_worth),
    Case(f"... photutils: PSFPhotometry of only {_PSF_STARS} stars", _psf_photometry),
)
