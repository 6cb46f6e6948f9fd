"""A frame on the pixel grid of another one, beside scipy and reproject."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from benchmarks.unit import Bench, Case, Work, Wrong

_SHIFT = 7.3


@cache
def _scene(size: int) -> dict[str, Any]:
    """Return an image of stars, its WCS with distortions and that of the target, and the true places of stars."""
    from toros.science.image import Image
    from toros.sim import Psf, add_stars, azulcito, camera_wcs

    camera = azulcito((size, size))
    source = camera_wcs(camera, 150.0, -30.0)
    target = camera_wcs(camera, 150.0 + _SHIFT * camera.pixel_scale / 3600, -29.999)
    rng = np.random.default_rng(5)
    count = size**2 // 20_000
    x, y = rng.uniform(30, size - 30, (2, count))
    data = np.zeros((size, size), np.float32)
    add_stars(data, x, y, np.full(count, 1e5), Psf(3.0))
    there = target.all_world2pix(*source.all_pix2world(x, y, 0), 0)
    variance = data + np.float32(100)
    return {
        "image": Image(data, variance, np.zeros(data.shape, np.uint8)),
        "wcs": (target, source),
        "stars": (x, y),
        "there": there,
    }


def _measured(plane: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return weighted centroids and fluxes of lonely stars."""
    from scipy.spatial import cKDTree

    from toros.science.shapes import measure_shapes
    from toros.science.stamps import stamps_at

    size = plane.shape[0]
    apart = cKDTree(np.column_stack([x, y])).query(np.column_stack([x, y]), 2)[0][:, 1] > 60
    chosen = apart & (np.minimum(x, y) > 40) & (np.maximum(x, y) < size - 40)
    stamps = stamps_at(plane.shape, x, y, 20)
    pixels = stamps.cut(plane)
    shapes = measure_shapes(pixels[:, 12:29, 12:29], stamps.dx[:, 12:29], stamps.dy[:, 12:29], 3.0)
    return np.hypot(shapes.x, shapes.y)[chosen], pixels.sum(axis=(1, 2))[chosen], chosen


def _mapped(bench: Bench) -> Work:
    from toros.science.resample import pixel_map

    target, source = _scene(bench.size)["wcs"]
    return lambda: pixel_map(target, bench.shape, source)


def _own(bench: Bench) -> Work:
    from toros.science.resample import pixel_map, resample

    scene = _scene(bench.size)
    target, source = scene["wcs"]
    places = pixel_map(target, bench.shape, source)
    return lambda: resample(scene["image"], places).data


def _worth(plane: Any) -> str:
    scene = _scene(plane.shape[0])
    away, flux, _ = _measured(plane, *scene["there"])
    rms, loss = float(np.sqrt(np.mean(away**2) / 2)), float(np.median(flux) / 1e5)
    remark = (
        f"{away.size} stars, centroids off by {rms:.4f} px rms, flux {loss:.4f} +- {flux.std() / 1e5:.4f}"
    )
    if not (rms < 0.005 and abs(loss - 1) < 0.01):
        raise Wrong(remark)
    return remark


def _spline(bench: Bench) -> Work:
    """scipy.ndimage with cubic splines, and the places of all pixels known."""
    from scipy.ndimage import affine_transform

    data = _scene(bench.size)["image"].data
    return lambda: affine_transform(data, np.eye(2), (0.3, _SHIFT), order=3)


def _reprojected(bench: Bench) -> Work:
    from reproject import reproject_interp

    scene = _scene(bench.size)
    target, source = scene["wcs"]
    return lambda: reproject_interp(
        (scene["image"].data, source), target, bench.shape, order="bicubic", return_footprint=False
    )


CASES = (
    Case("where the pixels of a frame lie in another, through both WCS", _mapped, limit=1.5, megabytes=50),
    Case("resample one frame with variance and mask", _own, limit=6, megabytes=330, remark=_worth),
    Case("... scipy.ndimage: cubic spline, data only, shift only", _spline),
    Case("... reproject: bicubic, data only", _reprojected),
)
