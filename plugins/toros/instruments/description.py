"""What a raw frame is: the header of any capture program, told in one language."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

from astropy.io import fits

from toros.errors import BadHeader, UnknownCamera, UnknownImageType, WrongGeometry
from toros.instruments.camera import CameraProfile
from toros.instruments.cards import Keywords, card_text, degrees_of, number_of, parse_number, text_of
from toros.instruments.dates import julian_date, start_of_exposure
from toros.instruments.dialect import Dialect, ImageType, TypeRule, normalise
from toros.instruments.profiles import Profiles
from toros.science.geometry import Geometry

HOTTEST, COLDEST = 80.0, -200.0
"""Degrees Celsius; a sensor temperature beyond these is in another unit, or made up."""

_SUFFIXES = {".fit", ".fits", ".fts", ".fz", ".gz", ".bz2", ".z"}


class Site(NamedTuple):
    """Where the telescope stands, as the header says: degrees (north, east positive), metres."""

    latitude: float
    longitude: float
    elevation: float | None


@dataclass(frozen=True)
class FrameDescription:
    """What the header, the path and the profiles say about one frame. What nobody says is None."""

    dialect: str
    camera: CameraProfile
    instrument: str
    imagetype: ImageType
    date_obs: dt.datetime
    """Start of the exposure, UTC."""
    jd: float
    """Julian date (UTC) of the start of the exposure."""
    exptime: float
    """Seconds."""
    filter: str | None
    """None also for bias and dark frames: the shutter was closed."""
    ccdtemp: float | None
    """Degrees Celsius."""
    set_temp: float | None
    xbinning: int
    ybinning: int
    gain_setting: float | None
    egain: float | None
    """Electrons per ADU, as the header says."""
    offset_setting: float | None
    readoutm: str | None
    object_: str | None
    observer: str | None
    ra_deg: float | None
    """Where the telescope was told to point; a hint, in the equinox of the capture program."""
    dec_deg: float | None
    xpixsz: float | None
    """Micrometres, binned."""
    ypixsz: float | None
    focal_length_mm: float | None
    bayer: str | None
    site: Site | None
    calibration_status: str | None
    """What the capture program has corrected already, in its own words."""
    exposures_combined: int
    """1 for a raw frame; more where a program has stacked several exposures into one."""
    simple: str
    bitpix: int
    naxis: int
    naxis1: int
    naxis2: int
    bscale: float | None
    bzero: float | None

    @property
    def unbinned_shape(self) -> tuple[int, int]:
        """Rows and columns of the chip, unbinned and trimmed, as far as they are known."""
        if self.camera.pixels is not None:
            return self.camera.pixels[1], self.camera.pixels[0]
        return self.naxis2 * self.ybinning, self.naxis1 * self.xbinning

    @property
    def ccd_name(self) -> str:
        """Name of the camera; without a profile, instrument and size, as many cameras share one INSTRUME."""
        rows, columns = self.unbinned_shape
        return f"{self.instrument} {columns}x{rows}" if self.camera.is_generic else self.camera.name

    @property
    def site_longitude(self) -> float | None:
        """Degrees, east positive."""
        return self.site.longitude if self.site else None

    def geometry(self) -> Geometry:
        """Lay out the frame: amplifiers, overscan and trimmed image."""
        return self.camera.geometry(self.xbinning, self.ybinning, (self.naxis2, self.naxis1), self.egain)


def describe(
    header: fits.Header, shape: tuple[int, int], path: PurePath, profiles: Profiles
) -> FrameDescription:
    """Describe a raw frame.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Cards of the image and of the primary HDU.
    shape : tuple of int
        Rows and columns of the image.
    path : PurePath
        Where the frame lies, relative to the watched folder: the names of file and folders may tell the image
        type, and those above the watched folder should not.
    profiles : Profiles
        Dialects and cameras.

    Raises
    ------
    UnknownCamera
        Nothing names an instrument.
    WrongGeometry
        The frame does not fit its camera: another size, or a part of the chip only.
    UnknownImageType
        Neither header nor path tell bias, dark, flat and science apart.
    NoDate
        Nothing tells when the exposure started.
    BadHeader
        A card that is needed cannot be understood.
    """
    dialect = profiles.dialect_of(header)
    says = dialect.quantities
    instrument = _name(header, says.instrument, dialect)
    if instrument is None:
        raise UnknownCamera("no card names the camera (INSTRUME)")
    binning = _binning(header, dialect)
    _require_whole_chip(header, dialect)
    camera = profiles.camera_of(header, shape, binning)
    pixel_size = _pixel_size(header, dialect, camera, binning)
    if camera.is_generic:
        pixel = pixel_size[0] / binning[0] if pixel_size[0] else None
        camera = camera.model_copy(update={"model": instrument, "pixel_size": pixel})
    camera.geometry(*binning, shape)
    imagetype = _image_type(header, path, dialect, camera)
    exptime = _exposure_time(header, dialect, imagetype)
    date_obs = start_of_exposure(header, dialect, exptime)
    ra_deg, dec_deg = _pointing(header, dialect)
    return FrameDescription(
        dialect=dialect.name,
        camera=camera,
        instrument=instrument,
        imagetype=imagetype,
        date_obs=date_obs,
        jd=julian_date(date_obs),
        exptime=exptime,
        filter=_filter(header, dialect) if imagetype in {"Flat", "Science"} else None,
        ccdtemp=_temperature(header, says.ccdtemp),
        set_temp=_temperature(header, says.set_temp),
        xbinning=binning[0],
        ybinning=binning[1],
        gain_setting=number_of(header, says.gain_setting),
        egain=_positive(header, says.egain),
        offset_setting=number_of(header, says.offset_setting),
        readoutm=text_of(header, says.readoutm),
        object_=_name(header, says.object, dialect),
        observer=_name(header, says.observer, dialect),
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        xpixsz=pixel_size[0],
        ypixsz=pixel_size[1],
        focal_length_mm=_positive(header, says.focal_length),
        bayer=_bayer(header, dialect, camera),
        site=_site(header, dialect),
        calibration_status=text_of(header, says.calibration_status),
        exposures_combined=max(1, int(number_of(header, says.exposures_combined) or 1)),
        simple="T" if header.get("SIMPLE", True) else "F",
        bitpix=_integer(header, "BITPIX"),
        naxis=_integer(header, "NAXIS"),
        naxis1=shape[1],
        naxis2=shape[0],
        bscale=parse_number(card_text(header, "BSCALE")),
        bzero=parse_number(card_text(header, "BZERO")),
    )


# -------------------------------------------------------------------------------------------- the camera


def _binning(header: fits.Header, dialect: Dialect) -> tuple[int, int]:
    factors = []
    for keywords in (dialect.quantities.xbinning, dialect.quantities.ybinning):
        text = text_of(header, keywords)
        value = number_of(header, keywords) if text else 1
        if value is None or value < 1 or value != int(value):
            raise BadHeader(f"{keywords[0].card} = {text!r} is not a binning factor")
        factors.append(int(value))
    return factors[0], factors[1]


def _require_whole_chip(header: fits.Header, dialect: Dialect) -> None:
    says = dialect.quantities
    corner = (number_of(header, says.xorigin) or 0, number_of(header, says.yorigin) or 0)
    if corner != (0, 0):
        raise WrongGeometry(
            f"a part of the chip only, from column {corner[0]:g} and row {corner[1]:g}",
            advice="take whole frames: calibration frames of another part of the chip do not fit",
        )


def _pixel_size(
    header: fits.Header, dialect: Dialect, camera: CameraProfile, binning: tuple[int, int]
) -> tuple[float | None, float | None]:
    own = camera.pixel_size
    return (
        _positive(header, dialect.quantities.xpixsz) or (own * binning[0] if own else None),
        _positive(header, dialect.quantities.ypixsz) or (own * binning[1] if own else None),
    )


def _bayer(header: fits.Header, dialect: Dialect, camera: CameraProfile) -> str | None:
    """Give the colours of the first 2x2 pixels, row by row."""
    pattern = (text_of(header, dialect.quantities.bayer) or camera.bayer or "").upper()
    if len(pattern) != 4 or not set(pattern) <= set("RGBCMYW"):
        return None
    right = int(number_of(header, dialect.quantities.bayer_xoffset) or 0)
    down = int(number_of(header, dialect.quantities.bayer_yoffset) or 0)
    return "".join(pattern[2 * ((y + down) % 2) + (x + right) % 2] for y in (0, 1) for x in (0, 1))


# ---------------------------------------------------------------------------------------- the image type


def _image_type(header: fits.Header, path: PurePath, dialect: Dialect, camera: CameraProfile) -> ImageType:
    rules = camera.type_rules + dialect.type_rules
    ruled = _by_rules([rule for rule in rules if rule.wins_over_header], header, path)
    if ruled is not None:
        return ruled
    text = text_of(header, dialect.quantities.imagetype)
    if text is not None and normalise(text) not in map(normalise, dialect.unsaid_types):
        kind = dialect.type_of(text)
        if kind is None:
            raise UnknownImageType(f"{path.name} is {text!r}: neither bias nor dark, flat or science")
        return kind
    told = _by_rules([rule for rule in rules if not rule.wins_over_header], header, path)
    if told is None:
        raise UnknownImageType(f"neither the header nor the name {path.name} tells the image type")
    return told


def _by_rules(rules: list[TypeRule], header: fits.Header, path: PurePath) -> ImageType | None:
    for rule in rules:
        if rule.where != "path" and rule.matches.search(card_text(header, rule.where)):
            return rule.type
    for name in (_bare_name(path), *(folder.name for folder in path.parents)):
        for rule in rules:
            if rule.where == "path" and rule.matches.search(name):
                return rule.type
    return None


def _bare_name(path: PurePath) -> str:
    while path.suffix.lower() in _SUFFIXES:
        path = path.with_suffix("")
    return path.name


# ---------------------------------------------------------------------------------- the exposure and the sky


def _exposure_time(header: fits.Header, dialect: Dialect, imagetype: ImageType) -> float:
    keywords = dialect.quantities.exptime
    value = number_of(header, keywords)
    if value is None:
        text = text_of(header, keywords)
        if text is None and imagetype == "Bias":
            return 0.0
        raise BadHeader(
            f"the exposure time {text!r} is not a number" if text else "there is no exposure time"
        )
    if value < 0:
        raise BadHeader(f"an exposure of {value:g} s")
    return value


def _filter(header: fits.Header, dialect: Dialect) -> str | None:
    text = text_of(header, dialect.quantities.filter)
    if text is None or normalise(text) in map(normalise, dialect.no_filter):
        return None
    return " ".join(text.split())


def _temperature(header: fits.Header, keywords: Keywords) -> float | None:
    value = number_of(header, keywords)
    return value if value is not None and COLDEST <= value <= HOTTEST else None


def _pointing(header: fits.Header, dialect: Dialect) -> tuple[float | None, float | None]:
    ra = degrees_of(header, dialect.quantities.ra, sexagesimal_unit=15.0)
    dec = degrees_of(header, dialect.quantities.dec, sexagesimal_unit=1.0)
    # 0, 0 is what programs write that know of no telescope.
    if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90) or (ra, dec) == (0, 0):
        return None, None
    return ra % 360.0, dec


def _site(header: fits.Header, dialect: Dialect) -> Site | None:
    latitude = degrees_of(header, dialect.quantities.latitude, sexagesimal_unit=1.0)
    longitude = degrees_of(header, dialect.quantities.longitude, sexagesimal_unit=1.0)
    if latitude is None or longitude is None or (latitude, longitude) == (0, 0):
        return None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 360):
        return None
    east = longitude - 360 if longitude > 180 else longitude
    return Site(latitude, east, number_of(header, dialect.quantities.elevation))


# ----------------------------------------------------------------------------------------------- plain cards


def _name(header: fits.Header, keywords: Keywords, dialect: Dialect) -> str | None:
    for keyword in keywords:
        text = text_of(header, [keyword])
        if text is not None and normalise(text) not in map(normalise, dialect.unnamed):
            return " ".join(text.split())
    return None


def _integer(header: fits.Header, card: str) -> int:
    value = parse_number(card_text(header, card))
    if value is None or value != int(value):
        raise BadHeader(f"{card} = {card_text(header, card)!r} is not an integer")
    return int(value)


def _positive(header: fits.Header, keywords: Keywords) -> float | None:
    value = number_of(header, keywords)
    return value if value is not None and value > 0 else None
