"""The page of the calibration rules."""

from __future__ import annotations

from pathlib import Path

from toros.docs.markdown import fenced
from toros.docs.page import Page
from toros.steps import calibration_rules

SHIPPED = Path(calibration_rules.__file__).with_suffix(".toml")


def calibration_rules_page(path: Path | None) -> Page:
    """Write the rules of a file, by default the shipped ones, as they stand there with their comments.

    Raises
    ------
    BadProfile
        The file is not there, or does not say what it should.
    """
    calibration_rules.read_rules(path)  # complains better than we could
    return Page(
        "calibration_rules",
        "Calibration rules",
        "The file named in `[toros] rules`, as it is in force here."
        if path
        else "The shipped rules; a file of your own, named in `[toros] rules`, takes their place.",
        fenced((path or SHIPPED).read_text(encoding="utf-8"), "toml"),
    )
