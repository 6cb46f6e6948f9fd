"""A field that was measured in many frames: rows of frames, solutions, zero points and sources, without any file."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from toros.models import (
    CCD,
    HEALPIX_ORDER,
    Astrometry,
    Campaign,
    Observatory,
    Pawprint,
    PhotometricZeroPoint,
    Software,
    Source,
    State,
    StepRun,
)
from toros.science.healpix import cells_of

RA, DEC = 286.04, 36.63
START = dt.datetime(2026, 11, 21, 1, tzinfo=dt.UTC)
START_JD = 2461365.541667
EXPTIME = 60.0
ZERO_POINT = 22.0


@dataclass
class Series:
    """Puts frames of one field into a database; star 0 is at RA, DEC and may dim."""

    session: Session
    seed: int = 1
    stars: int = 60
    number: int = 0
    campaign: Campaign = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.ra = (RA + self.rng.uniform(-0.2, 0.2, self.stars) / np.cos(np.radians(DEC))) % 360
        self.dec = DEC + self.rng.uniform(-0.2, 0.2, self.stars)
        self.mag = self.rng.uniform(10.5, 14, self.stars)
        self.ra[0], self.dec[0], self.mag[0] = RA, DEC, 11.0
        site = self.session.scalars(select(Observatory)).first()
        ccd = CCD(name="Camera", brand="", model="", xpixsize=1000, ypixsize=1000, profile="generic")
        self.campaign = Campaign(name="here", observatory=site, ccd=ccd)
        self.software = Software(digest="0" * 64, versions={})
        self.session.add_all([self.campaign, self.software])
        self.session.flush()

    def frame(
        self,
        *,
        dimmed: float = 0.0,
        cloud: float = 0.0,
        filter_name: str | None = "V",
        object_: str | None = "TrES-1",
        has_zero_point: bool = True,
        flags: int = 0,
    ) -> Pawprint:
        """Add a frame with all its stars; `flags` are those of star 0."""
        self.number += 1
        frame = self._pawprint(filter_name, object_)
        self.measure(frame, dimmed=dimmed, cloud=cloud, flags=flags)
        run = self._run("solve")
        self.session.add(
            Astrometry(
                pawprint_id=frame.id, steprun_id=run.id, ra=RA, dec=DEC, healpix=1, pixel_scale=1.0, rotation=0.0,
                mirrored=False, rms=0.1, n_stars=50, sip_order=2, method="header", catalogue="tycho2",
            )
        )  # fmt: skip
        if has_zero_point:
            run = self._run("zero point")
            self.session.add(
                PhotometricZeroPoint(
                    pawprint_id=frame.id, steprun_id=run.id, band="V", catalogue="tycho2",
                    zero_point=ZERO_POINT - cloud, error=0.01, scatter=0.02, n_stars=30,
                )
            )  # fmt: skip
        self.session.flush()
        return frame

    def measure(self, frame: Pawprint, *, dimmed: float = 0.0, cloud: float = 0.0, flags: int = 0) -> None:
        """Add the sources of a frame, in a run of their own."""
        run = self._run("measure")
        rate = 10 ** (-0.4 * (self.mag + cloud - ZERO_POINT))
        rate[0] *= 1 - dimmed
        error = np.sqrt(rate * EXPTIME + 100.0)
        flux = rate * EXPTIME + self.rng.normal(0, error)
        ra = (self.ra + self.rng.normal(0, 0.1 / 3600, self.stars)) % 360
        dec = self.dec + self.rng.normal(0, 0.1 / 3600, self.stars)
        cells = cells_of(ra, dec, HEALPIX_ORDER)
        self.session.execute(
            insert(Source),
            [
                {
                    "pawprint_id": frame.id, "steprun_id": run.id, "x": 0.0, "y": 0.0, "flux": float(flux[i]),
                    "flux_err": float(error[i]), "aper_flux": float(flux[i]) * 1.5,
                    "aper_flux_err": float(error[i]) * 2, "snr": float(flux[i] / error[i]), "fwhm": 4.0,
                    "ra": float(ra[i]), "dec": float(dec[i]), "healpix": int(cells[i]), "flags": flags if i == 0 else 0,
                }
                for i in range(self.stars)
            ],
        )  # fmt: skip

    def _pawprint(self, filter_name: str | None, object_: str | None) -> Pawprint:
        minutes = 2 * self.number
        frame = Pawprint(
            state=self.session.scalars(select(State).where(State.name == "measured")).one(), state_count=1,
            name=f"light-{self.number:03d}.fits", checksum=f"{self.number:064d}", night=START.date(),
            jd=START_JD + minutes / 1440, observation_date=START + dt.timedelta(minutes=minutes), exptime=EXPTIME,
            imagetype="Science", filter=filter_name, object_=object_, dialect="generic", bitpix=16, naxis=2,
            naxis1=1000, naxis2=1000, xbinning=1, ybinning=1, campaign=self.campaign,
        )  # fmt: skip
        self.session.add(frame)
        self.session.flush()
        return frame

    def _run(self, step: str) -> StepRun:
        run = StepRun(
            step=step, step_version="1", parameters={}, parameters_hash="0" * 64, software=self.software,
            status="succeeded", host="host", boot="boot", pid=1, pid_started=0.0,
            started_at=START, ended_at=START,
        )  # fmt: skip
        self.session.add(run)
        self.session.flush()
        return run
