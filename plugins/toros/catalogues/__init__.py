"""Reference catalogues on this machine: stars with positions and magnitudes, found by their place on the sky.

What loads them is in :mod:`toros.catalogues.loading`, apart: it needs Arrow, whose threads no process that forks tasks
should have.
"""

from toros.catalogues.catalogue import Catalogue, open_catalogue, open_catalogues, reference_stars
from toros.catalogues.description import CatalogueDescription

__all__ = [
    "Catalogue",
    "CatalogueDescription",
    "open_catalogue",
    "open_catalogues",
    "reference_stars",
]
