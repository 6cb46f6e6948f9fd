"""Stamps of the candidates of a frame: an extension beside their table, of which one row is read at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from toros.errors import NoImage, NotFits
from toros.store.store import translated_os_errors

EXTENSION = "STAMPS"


def read_stamps(path: Path, row: int) -> NDArray[np.float32]:
    """Read frame, reference and difference around one candidate.

    Parameters
    ----------
    path : Path
        A product of kind ``candidates``.
    row : int
        Which of its stamps, from 0.

    Returns
    -------
    ndarray of float32, shape (3, side, side)
        NaN where there is no value.

    Raises
    ------
    NotFits
        The file is something else.
    NoImage
        It has no such stamps.
    FileMissing, StorageUnavailable
        It cannot be read.
    """
    with translated_os_errors(path):
        try:
            hdus = fits.open(path)
        except OSError as error:
            if error.errno is not None:
                raise
            raise NotFits(f"{path.name}: {error}") from None
        with hdus:
            if EXTENSION not in hdus or not 0 <= row < hdus[EXTENSION].shape[0]:
                raise NoImage(f"{path.name} has no stamps of row {row}")
            return np.asarray(hdus[EXTENSION].section[row], np.float32)
