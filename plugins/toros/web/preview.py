"""Quick look: an image product as a small grey PNG, bright stars and faint nebulae both visible."""

from __future__ import annotations

from pathlib import Path

LARGEST_SIDE = 1024
"""Pixels."""


def quick_look(path: Path, largest_side: int = LARGEST_SIDE) -> bytes:
    """Draw the image of a FITS file, as `toros.science.picture` shades it.

    Parameters
    ----------
    path : Path
        A FITS file, plain or packed.
    largest_side : int
        Pixels of the longer side of the drawing, at most.

    Returns
    -------
    bytes
        A PNG with 8 bits of grey. The first row of the image is at the bottom, pixels without a value are black.

    Raises
    ------
    NotFits, NoImage, Truncated, BadHeader
        There is no image to draw.
    FileMissing, StorageUnavailable
        The file cannot be read.
    """
    # astropy and numpy are for those who look at images, not for every process of the API server.
    from toros.science.picture import as_picture, encode_png, shrink, stretch
    from toros.store import fits_file

    image = fits_file.inspect(path)
    return encode_png(as_picture(stretch(shrink(image.rows(), image.shape, largest_side)), largest_side))
