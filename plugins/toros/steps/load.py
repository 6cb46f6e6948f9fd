"""Load: the only way into the stream. An arrival is registered as an exposure, or refused with a reason."""

from __future__ import annotations

import datetime as dt
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.config import Settings
from toros.errors import FileMissing, Misconfigured, Superseded, UnknownCamera, Unprocessable, Vanished
from toros.instruments import FrameDescription, Profiles, describe, load_profiles, observing_night
from toros.models import CCD, Arrival, CalFile, Campaign, Exposure, Observatory, Pawprint, Product, Rejection
from toros.steps.step import Step, Work
from toros.store import fits_file
from toros.store.store import translated_os_errors


@dataclass(frozen=True)
class Site:
    """A camera at work, and where: ``campaign_id`` is None where a campaign has yet to be made."""

    campaign_id: int | None
    ccd: str
    longitude: float


@dataclass(frozen=True)
class Rows:
    """The arrival, and the cameras and sites that are known."""

    path: Path
    size: int
    mtime_ns: int
    sites: tuple[Site, ...]
    default_longitude: float


@dataclass(frozen=True)
class Inputs:
    """A private copy of the file."""

    rows: Rows
    copy: Path
    checksum: str
    duplicate_of: int | None
    within_inbox: Path
    """Its path below the watched folder: what lies above says nothing about the frame."""
    profiles: Profiles
    accept_unknown_cameras: bool


@dataclass(frozen=True)
class Registered:
    """What the file turned out to be; without a description it is a duplicate."""

    inputs: Inputs
    described: FrameDescription | None = None
    night: dt.date | None = None
    exposure: Exposure | None = None


class Load(Step[Rows, Inputs, Registered]):
    """Copy a file in, understand its header, and register it exactly once, by content."""

    name = "load"
    version = "1"
    takes = Arrival
    from_state = "arrived"
    to_state = "registered"
    error_state = "rejected"
    groups = ("ingest",)

    def query(self, session: Session, item: Arrival, work: Work) -> Rows:
        sites = tuple(
            Site(campaign.id, campaign.ccd.name, campaign.observatory.longitude)
            for campaign in session.scalars(select(Campaign).order_by(Campaign.id.desc()))
        )
        default = _default_observatory(session, work.settings)
        return Rows(Path(item.path), item.size, item.mtime_ns, sites, default.longitude)

    def extract(self, rows: Rows, work: Work) -> Inputs:
        copy = work.scratch(rows.path.name)
        checksum = _bring_in(rows, copy, work)
        with work.database.read() as session:
            duplicate_of = session.scalar(
                select(Product.item_id).where(Product.kind == "raw", Product.checksum == checksum)
            )
        profiles = load_profiles((work.settings.profiles_dir,) if work.settings.profiles_dir else ())
        within = _within_inbox(rows.path, work.settings)
        return Inputs(
            rows, copy, checksum, duplicate_of, within, profiles, work.settings.accept_unknown_cameras
        )

    def transform(self, inputs: Inputs) -> Registered:
        if inputs.duplicate_of is not None:
            return Registered(inputs)
        image = fits_file.inspect(inputs.copy)
        described = describe(image.header, image.shape, inputs.within_inbox, inputs.profiles)
        if described.camera.is_generic and not inputs.accept_unknown_cameras:
            raise UnknownCamera(f"no profile matches the camera {described.instrument!r}")
        night = observing_night(described.date_obs, _longitude(described, inputs.rows))
        return Registered(inputs, described, night, _exposure(described, night, inputs))

    def write(self, result: Registered, work: Work) -> None:
        if result.described is None or result.night is None:
            work.leave("duplicate")
            return
        path = result.inputs.rows.path
        caveats = _caveats_of(result.described)
        stem, suffix = split_name(path.name)
        staged = work.stage("raw", result.night, stem, suffix, owner=result.exposure, caveats=caveats)
        with translated_os_errors(staged):
            result.inputs.copy.rename(staged)

    def load(self, session: Session, item: Arrival, result: Registered, work: Work) -> None:
        if result.exposure is None or result.described is None:
            item.exposure_id = result.inputs.duplicate_of
            session.add(
                Rejection(
                    arrival_id=item.id,
                    steprun_id=work.run_id,
                    code="duplicate",
                    reason=f"the same content is registered as item {result.inputs.duplicate_of}",
                    advice="nothing to do",
                )
            )
            return
        result.exposure.campaign_id = _campaign_id(session, result.described, work.settings)
        work.spawn(result.exposure, "raw_data")
        item.exposure = result.exposure

    def refuse(self, session: Session, item: Arrival, error: Unprocessable, run_id: int) -> None:
        session.add(
            Rejection(
                arrival_id=item.id,
                steprun_id=run_id,
                code=error.code,
                reason=error.message,
                advice=error.advice,
            )
        )


def _bring_in(rows: Rows, copy: Path, work: Work) -> str:
    """Copy (or link) the file into the staging area; return its checksum."""
    try:
        if work.settings.raw_files == "link":
            _link(rows.path, copy)
            checksum = work.store.checksum(copy)
        else:
            checksum = work.store.copy_in(rows.path, copy)
        status = rows.path.stat()
    except FileNotFoundError:
        if any(inbox.is_dir() for inbox in work.settings.inbox if rows.path.is_relative_to(inbox)):
            raise Vanished(f"{rows.path} is not there any more") from None
        raise FileMissing(f"the folder of {rows.path} is not reachable") from None
    except OSError:
        with translated_os_errors(rows.path):
            raise
    if (status.st_size, status.st_mtime_ns) != (rows.size, rows.mtime_ns):
        raise Superseded(f"{rows.path} changed after it was seen")
    return checksum


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)  # not a link to a symbolic link
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
            raise Misconfigured(
                f"{source} cannot be linked into the data root: {error.strerror}",
                advice="set [toros] raw_files to `copy`",
            ) from None
        raise


def _within_inbox(path: Path, settings: Settings) -> Path:
    inboxes = [inbox for inbox in settings.inbox if path.is_relative_to(inbox)]
    return path.relative_to(max(inboxes, key=lambda inbox: len(inbox.parts))) if inboxes else Path(path.name)


def _caveats_of(described: FrameDescription) -> list[Caveat]:
    caveats = []
    if described.camera.is_generic:
        caveats.append(Caveat.GENERIC_CAMERA)
    if described.calibration_status:
        caveats.append(Caveat.CORRECTED_BEFORE)
    if described.exposures_combined > 1:
        caveats.append(Caveat.STACKED_BEFORE)
    return caveats


def split_name(name: str) -> tuple[str, str]:
    """Split ``M31_001.fit.gz`` into ``M31_001`` and ``.fit.gz``."""
    path = Path(name)
    suffix = path.suffix
    if suffix.lower() in (".gz", ".bz2", ".fz", ".z"):
        suffix = Path(path.stem).suffix + suffix
    return (name.removesuffix(suffix), suffix) if suffix else (name, "")


def _longitude(described: FrameDescription, rows: Rows) -> float:
    if described.site is not None:
        return described.site.longitude
    for site in rows.sites:
        if site.ccd == described.ccd_name:
            return site.longitude
    return rows.default_longitude


def _exposure(described: FrameDescription, night: dt.date, inputs: Inputs) -> Exposure:
    model = Pawprint if described.imagetype == "Science" else CalFile
    return model(
        name=inputs.rows.path.name,
        checksum=inputs.checksum,
        night=night,
        observation_date=described.date_obs,
        dialect=described.dialect,
        ra=described.ra_deg,
        dec=described.dec_deg,
        **{column: getattr(described, column) for column in COPIED_COLUMNS},
    )


COPIED_COLUMNS = (
    "jd",
    "exptime",
    "imagetype",
    "filter",
    "object_",
    "observer",
    "simple",
    "bitpix",
    "naxis",
    "naxis1",
    "naxis2",
    "bscale",
    "bzero",
    "xbinning",
    "ybinning",
    "ccdtemp",
    "set_temp",
    "xpixsz",
    "ypixsz",
    "focal_length_mm",
    "readoutm",
    "gain_setting",
    "offset_setting",
    "egain",
    "bayer",
)
"""Columns that are called alike in the table and in the description of a frame."""


def _campaign_id(session: Session, described: FrameDescription, settings: Settings) -> int:
    """Return the newest campaign of the camera; make camera and campaign where they are not known yet."""
    name = described.ccd_name
    ccd = session.scalar(select(CCD).where(CCD.name == name))
    if ccd is None:
        camera = described.camera
        ccd = CCD(
            name=name,
            brand=camera.brand,
            model=camera.model or described.instrument,
            xpixsize=described.unbinned_shape[1],
            ypixsize=described.unbinned_shape[0],
            gain=camera.gain,
            read_noise=camera.read_noise,
            saturation=camera.saturation,
            pixel_size=camera.pixel_size,
            profile=camera.name,
        )
        session.add(ccd)
    else:
        campaign = session.scalar(
            select(Campaign).where(Campaign.ccd_id == ccd.id).order_by(Campaign.id.desc()).limit(1)
        )
        if campaign is not None:
            return campaign.id
    observatory = _default_observatory(session, settings)
    campaign = Campaign(name=f"{name} at {observatory.name}"[:100], observatory=observatory, ccd=ccd)
    session.add(campaign)
    session.flush()
    return campaign.id


def _default_observatory(session: Session, settings: Settings) -> Observatory:
    found = session.scalar(select(Observatory).where(Observatory.name == settings.observatory))
    if found is None:
        raise Misconfigured(
            f"there is no observatory {settings.observatory!r}",
            advice="add it with `toros observatory add`, or correct [toros] observatory",
        )
    return found
