"""Pictures of a candidate: its stamps, and its light curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from toros.web.detections import DetectionLine

# numpy, astropy and matplotlib are for those who look at pictures, not for every process of the API server.


def stamps_picture(path: Path, row: int) -> bytes:
    """Draw frame, reference and difference around a candidate, side by side, as a PNG.

    Parameters
    ----------
    path : Path
        A product of kind ``candidates``.
    row : int
        Of its stamps.

    Raises
    ------
    NoImage
        It has no such stamps.
    FileMissing, StorageUnavailable
        The file cannot be read.
    """
    from toros.science.contact_sheet import draw_stamps
    from toros.science.picture import encode_png
    from toros.store.stamps import read_stamps

    return encode_png(draw_stamps(read_stamps(path, row)))


def light_curve_picture(lines: Sequence[DetectionLine], title: str) -> bytes:
    """Draw the light curve of a candidate as a PNG; some of its detections have magnitudes or limits."""
    from astropy.table import Table

    from toros.science.light_curve_plot import draw_candidate_curve

    shown = [line for line in lines if line.has_magnitude]
    points = Table(
        {
            "jd": [line.jd for line in shown],
            "mag": [_number(line.mag) for line in shown],
            "mag_err": [_number(line.mag_err) for line in shown],
            "upper_limit": [_number(line.upper_limit) for line in shown],
            "filter": [line.filter or "" for line in shown],
            "found": [not line.forced for line in shown],
            "faded": [line.flux < 0 for line in shown],
        }
    )
    return draw_candidate_curve(points, title=title)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
