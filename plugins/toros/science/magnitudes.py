"""Magnitudes (Pogson 1856, MNRAS 17, 12)."""

from __future__ import annotations

import numpy as np

POGSON = 2.5 / np.log(10)
"""Magnitudes of a relative change of flux, where it is small."""
