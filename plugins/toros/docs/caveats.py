"""The page of the caveats."""

from __future__ import annotations

from toros.caveats import LEGEND, Caveat
from toros.docs.markdown import anchor_here, code, prose, table
from toros.docs.page import Page


def caveats_page() -> Page:
    """Write what the caveats of a product mean."""
    return Page(
        "caveats",
        "Caveats",
        "Success with caveats is recorded, never silent: these are the codes that products carry.",
        table(
            ("code", "meaning"),
            ((anchor_here(caveat) + code(caveat), prose(LEGEND[caveat])) for caveat in Caveat),
        ),
    )
