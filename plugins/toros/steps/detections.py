"""Rows of a candidate on a frame: where it stood out, or how bright it can have been where it did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Row
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import Detection, Lineage, Pawprint, PhotometricZeroPoint, Reference
from toros.models.base import HEALPIX_ORDER
from toros.science.healpix import cells_of
from toros.science.magnitudes import POGSON
from toros.steps.step import ProductFile

LIMIT_SIGMA = 5.0
"""An upper limit is the magnitude of a star of so many sigma."""

SEEN_SIGMA = 3.0
"""A forced flux below that has an upper limit and no magnitude."""


@dataclass(frozen=True)
class DifferencedFrame:
    """A frame, the reference that was subtracted from it, and what its fluxes are in magnitudes."""

    pawprint_id: int
    reference_id: int
    exptime: float
    zero_point: float | None
    """Magnitude of one electron per second."""

    @classmethod
    def of(cls, session: Session, frame: Pawprint, difference: ProductFile) -> DifferencedFrame:
        """Look up what belongs to a frame and its difference."""
        zero_point = session.scalar(
            select(PhotometricZeroPoint.zero_point)
            .where(PhotometricZeroPoint.pawprint_id == frame.id)
            .order_by(PhotometricZeroPoint.id.desc())
            .limit(1)
        )
        return cls(frame.id, reference_of(session, difference).id, frame.exptime, zero_point)

    def magnitude(self, flux: float) -> float | None:
        """Return the magnitude of a flux (electron, positive)."""
        if self.zero_point is None:
            return None
        return float(self.zero_point - 2.5 * np.log10(flux / self.exptime))

    def error(self, flux: float, error: float) -> float | None:
        """Return the error of that magnitude."""
        return None if self.zero_point is None else float(POGSON * error / flux)


def reference_of(session: Session, difference: ProductFile) -> Reference:
    """Return the reference that was subtracted for a difference."""
    return session.scalars(
        select(Reference)
        .join(Lineage, Lineage.input_id == Reference.product_id)
        .where(Lineage.output_id == difference.id)
        .order_by(Reference.id.desc())
        .limit(1)
    ).one()


def found_detection(frame: DifferencedFrame, row: Row, model_version: str, run_id: int) -> Detection:
    """Make the row of something that stood out, from a row of the table of candidates."""
    flux, error = float(row["flux"].value), float(row["flux_err"].value)
    return _detection(
        frame,
        (float(row["ra"]), float(row["dec"])),
        (float(row["x"].value), float(row["y"].value)),
        (flux, error),
        run_id,
        forced=False,
        snr=float(row["snr"]),
        mag=frame.magnitude(abs(flux)),
        mag_err=frame.error(abs(flux), error),
        flags=int(row["flags"]),
        score=float(row["score"]),
        model_version=model_version,
    )


def forced_detection(
    frame: DifferencedFrame,
    place: tuple[float, float],
    pixel: tuple[float, float],
    measured: tuple[float, float],
    run_id: int,
) -> Detection | None:
    """Make the row of a known object that did not stand out; none where nothing could be measured.

    Parameters
    ----------
    frame : DifferencedFrame
    place : (float, float)
        Right ascension and declination, degrees.
    pixel : (float, float)
        x, y (0-based px).
    measured : (float, float)
        Flux and its error, electron.
    run_id : int
        The run that measured it.
    """
    flux, error = measured
    if not (np.isfinite(flux) and error > 0):
        return None
    is_seen = flux > SEEN_SIGMA * error
    return _detection(
        frame,
        place,
        pixel,
        measured,
        run_id,
        forced=True,
        snr=flux / error,
        mag=frame.magnitude(flux) if is_seen else None,
        mag_err=frame.error(flux, error) if is_seen else None,
        upper_limit=None if is_seen else frame.magnitude(LIMIT_SIGMA * error),
    )


def _detection(
    frame: DifferencedFrame,
    place: tuple[float, float],
    pixel: tuple[float, float],
    measured: tuple[float, float],
    run_id: int,
    **columns: object,
) -> Detection:
    ra, dec = place
    flux, error = measured
    return Detection(
        pawprint_id=frame.pawprint_id,
        reference_id=frame.reference_id,
        steprun_id=run_id,
        ra=ra,
        dec=dec,
        healpix=int(cells_of(ra, dec, HEALPIX_ORDER)),
        x=pixel[0],
        y=pixel[1],
        flux=flux,
        flux_err=error,
        **columns,
    )
