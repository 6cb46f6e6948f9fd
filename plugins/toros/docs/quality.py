"""The page of the quality measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from toros.cli.output import as_text
from toros.docs.markdown import anchor_here, blocks, code, heading, link, prose, table
from toros.docs.page import Page
from toros.quality.limits import LIMITED, MeasureLimits, read_limits

PAGE = "quality"

COLOURS = """\
A measure is green until it passes a limit. Yellow deserves a look; an orange frame is of limited use; a red one is
of none, and goes no further. The worst colour of its measures is that of a frame. A measure without limits informs
and never judges, one that was not taken is not judged, and a value that is no number is never green.

`toros quality` lists the limits in force, `toros quality ITEM` the measures of one item with their colours and
reasons. To change limits, write what differs into a file of the same layout, and name it in `[toros] quality_limits`.
"""


def quality_page(path: Path | None) -> Page:
    """Write what each measure means and where its colour changes, as the limits are in force.

    Raises
    ------
    BadProfile
        The file is not there, or does not say what it should.
    """
    limits = read_limits(path)
    return Page(
        PAGE,
        "Quality measures",
        "What is measured on every frame and master, what it means, and when it turns yellow, orange or red.",
        blocks((*map(prose, COLOURS.split("\n\n")), _limits(limits.measures), *_cameras(limits.cameras))),
    )


def _limits(measures: Mapping[str, MeasureLimits]) -> str:
    return table(
        ("measure", "unit", "bad if", *LIMITED, "meaning"),
        (
            (
                anchor_here(name) + code(name),
                measure.unit,
                measure.bad if measure.bad != "both" else "high or low",
                *_colours(measure),
                prose(measure.meaning),
            )
            for name, measure in measures.items()
        ),
    )


def _cameras(cameras: Mapping[str, Mapping[str, MeasureLimits]]) -> Iterator[str]:
    if not cameras:
        return
    yield heading(2, "Cameras with limits of their own")
    yield table(
        ("camera", "measure", "unit", *LIMITED),
        (
            (prose(camera), link(name, PAGE, name), measure.unit, *_colours(measure))
            for camera, measures in cameras.items()
            for name, measure in measures.items()
        ),
    )


def _colours(measure: MeasureLimits) -> Iterator[str]:
    for name in LIMITED:
        limit = getattr(measure, name)
        yield " to ".join(map(as_text, limit)) if isinstance(limit, tuple) else as_text(limit)
