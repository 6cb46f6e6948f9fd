"""A point-spread function inside a FITS file: an image extension with its table, and cards with its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from toros.errors import BadHeader
from toros.science.psf import Psf
from toros.store.store import translated_os_errors

EXTENSION = "PSF"


def psf_hdu(psf: Psf) -> fits.ImageHDU:
    """Lay out a point-spread function; `read_psf` makes the same one of it."""
    header = fits.Header()
    header["PSFNY"], header["PSFNX"] = psf.shape
    header["PSFBETA"] = (psf.beta, "slope of the Moffat profile")
    header["PSFSTARS"] = (psf.n_stars, "stars it was measured from")
    header["PSFTERMS"] = (psf.moments.shape[1], "terms over the field of each moment")
    for number, moment in enumerate(psf.moments.ravel()):
        header[f"PSFM{number}"] = (float(moment), "[pix2] squared Moffat radii: xx, yy, xy")
    return fits.ImageHDU(psf.table if psf.table.size else None, header, name=EXTENSION)


def append_psf(path: Path, psf: Psf) -> None:
    """Add a point-spread function to a FITS file."""
    with translated_os_errors(path), fits.open(path, "append") as hdus:
        hdus.append(psf_hdu(psf))


def read_psf(path: Path) -> Psf:
    """Read the point-spread function of a product.

    Raises
    ------
    BadHeader
        The file holds none.
    """
    with fits.open(path) as hdus:
        try:
            hdu = hdus[EXTENSION]
            header = hdu.header
            moments = [header[f"PSFM{number}"] for number in range(3 * header["PSFTERMS"])]
            table = np.zeros((0, 0)) if hdu.data is None else hdu.data
            return Psf(
                (header["PSFNY"], header["PSFNX"]),
                header["PSFBETA"],
                np.array(moments, np.float64).reshape(3, -1),
                header["PSFSTARS"],
                np.array(table, np.float32),
            )
        except KeyError as error:
            raise BadHeader(f"{path.name} holds no point-spread function: {error}") from None
