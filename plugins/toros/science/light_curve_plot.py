"""The plots of light curves, as PNG pictures."""

from __future__ import annotations

import io
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINT, _FLAGGED, _GUIDE = "#0b5fa5", "#d55e00", "#888888"
_FILTERS = (_POINT, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that everybody can tell apart."""

_ARROW = 0.06
"""Length of the arrow of an upper limit, as a share of the range of magnitudes."""


def draw_light_curve(points: Table, *, title: str, magnitude_name: str = "magnitude") -> bytes:
    """Draw magnitudes against time, and below them what the ensemble took out of each frame.

    Parameters
    ----------
    points : Table
        jd, mag, mag_err, offset, offset_err, flagged.
    title : str
        Above the plot.
    magnitude_name : str
        Below the numbers of the vertical axis.

    Returns
    -------
    bytes
        A PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.0), dpi=120, layout="constrained")
    curve, clouds = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    start = np.floor(np.min(points["jd"]))
    time = np.asarray(points["jd"]) - start
    flagged = np.asarray(points["flagged"], bool)
    for which, colour, label in ((~flagged, _POINT, ""), (flagged, _FLAGGED, "flagged")):
        if which.any():
            curve.errorbar(
                time[which],
                points["mag"][which],
                points["mag_err"][which],
                fmt="o",
                markersize=3.5,
                linewidth=1,
                color=colour,
                label=label,
            )
    curve.axhline(float(np.median(points["mag"])), color=_GUIDE, linewidth=0.8, zorder=0)
    curve.invert_yaxis()
    curve.set(title=title, ylabel=magnitude_name)
    if flagged.any():
        curve.legend(frameon=False)
    clouds.errorbar(time, points["offset"], points["offset_err"], fmt=".", color=_GUIDE, linewidth=1)
    clouds.invert_yaxis()
    clouds.set(xlabel=f"JD (UTC) − {start:.0f}", ylabel="offset, mag")
    for axes in (curve, clouds):
        axes.ticklabel_format(useOffset=False)
        axes.grid(alpha=0.25)
    return _as_png(figure)


def draw_candidate_curve(points: Table, *, title: str) -> bytes:
    """Draw how bright a candidate was on each frame, and where it was not seen, how bright it can have been.

    Parameters
    ----------
    points : Table
        jd, mag, mag_err, upper_limit (NaN where there is none), filter ("" for none), found, faded.
    title : str
        Above the plot.

    Returns
    -------
    bytes
        A PNG file. A disc is what stood out by itself, a ring what was measured at its place; a square has faded
        below the reference; an arrow is an upper limit. Each filter has its colour.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.invert_yaxis()
    start = np.floor(np.min(points["jd"]))
    values = np.concatenate([points["mag"], points["upper_limit"]])
    arrow = _ARROW * max(float(np.nanmax(values) - np.nanmin(values)), 1.0)
    for name, colour in zip(sorted(set(points["filter"])), cycle(_FILTERS), strict=False):
        here = points[points["filter"] == name]
        _draw_magnitudes(axes, here["jd"] - start, here, colour)
        axes.errorbar(
            here["jd"] - start, here["upper_limit"], arrow, lolims=True, fmt="_", linewidth=1, color=colour
        )
        axes.plot([], [], "o", color=colour, label=name or "no filter")
    axes.ticklabel_format(useOffset=False)
    axes.grid(alpha=0.25)
    axes.set(title=title, xlabel=f"JD (UTC) − {start:.0f}", ylabel="magnitude of the difference")
    axes.legend(frameon=False)
    return _as_png(figure)


def _draw_magnitudes(axes: Axes, time: NDArray[np.float64], points: Table, colour: str) -> None:
    """Draw the magnitudes of one filter; what is no number is not drawn."""
    found, faded = np.asarray(points["found"], bool), np.asarray(points["faded"], bool)
    for which, marker, face in (
        (found & ~faded, "o", colour),
        (~found & ~faded, "o", "none"),
        (faded, "s", "none"),
    ):
        axes.errorbar(
            time[which],
            points["mag"][which],
            points["mag_err"][which],
            fmt=marker,
            markersize=5,
            markerfacecolor=face,
            linewidth=1,
            color=colour,
        )


def _as_png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
