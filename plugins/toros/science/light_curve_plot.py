"""The plot of a light curve, as a PNG picture."""

from __future__ import annotations

import io

import numpy as np
from astropy.table import Table

_POINT, _FLAGGED, _GUIDE = "#0b5fa5", "#d55e00", "#888888"
"""Colours that everybody can tell apart."""


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
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
