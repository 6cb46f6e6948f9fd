"""The header that MaxIm DL writes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from astropy.coordinates import Angle
from astropy.io.fits import Header

from toros.sim.plan import Incident, julian_date

if TYPE_CHECKING:
    from toros.sim.camera import SimulatedCamera
    from toros.sim.plan import NightPlan, Shot

_IMAGE_TYPES = {"bias": "Bias Frame", "dark": "Dark Frame", "flat": "Flat Field", "light": "Light Frame"}


def maxim_header(shot: Shot, plan: NightPlan, camera: SimulatedCamera, *, ccd_temperature: float) -> Header:
    """Write the cards of an exposure as MaxIm DL 5 does; those on the array's format come with the data.

    The coordinates in OBJCTRA and OBJCTDEC are where the telescope was sent, not where it looked.
    """
    header = Header()
    header["DATE-OBS"] = f"{shot.start:%Y-%m-%dT%H:%M:%S}", "YYYY-MM-DDThh:mm:ss observation start, UT"
    header["EXPTIME"] = shot.exptime, "Exposure time in seconds"
    header["EXPOSURE"] = shot.exptime, "Exposure time in seconds"
    header["SET-TEMP"] = camera.set_temperature, "CCD temperature setpoint in C"
    header["CCD-TEMP"] = round(ccd_temperature, 3), "CCD temperature at start of exposure in C"
    header["XPIXSZ"] = camera.pixel_size, "Pixel Width in microns (after binning)"
    header["YPIXSZ"] = camera.pixel_size, "Pixel Height in microns (after binning)"
    header["XBINNING"] = 1, "Binning factor in width"
    header["YBINNING"] = 1, "Binning factor in height"
    header["XORGSUBF"] = 0, "Subframe X position in binned pixels"
    header["YORGSUBF"] = 0, "Subframe Y position in binned pixels"
    header["READOUTM"] = "Normal", "Readout mode of image"
    header["FILTER"] = shot.filter, "Filter used when taking image"
    header["IMAGETYP"] = _image_type(shot), "Type of image"
    header["SITELAT"] = _sexagesimal(plan.latitude), "Latitude of the imaging location"
    header["SITELONG"] = _sexagesimal(plan.longitude), "Longitude of the imaging location"
    header["JD"] = julian_date(shot.start), "Julian Date at start of exposure"
    focal_length = camera.pixel_size / 1000 / math.tan(math.radians(camera.pixel_scale / 3600))
    header["FOCALLEN"] = round(focal_length, 1), "Focal length of telescope in mm"
    header["EGAIN"] = camera.gain, "Electronic gain in e-/ADU"
    header["SWCREATE"] = "MaxIm DL Version 5.24", "Name of software that created the image"
    header["SBSTDVER"] = "SBFITSEXT Version 1.0", "Version of SBFITSEXT standard in effect"
    header["OBJECT"] = shot.field.name if shot.field else ""
    header["TELESCOP"] = camera.telescope, "telescope used to acquire this image"
    header["INSTRUME"] = camera.instrument
    header["OBSERVER"] = plan.observer
    header["NOTES"] = "simulated"
    if shot.field:
        hours = Angle(shot.field.ra, "deg").to_string("hour", sep=" ", precision=2, pad=True)
        header["OBJCTRA"] = str(hours), "Nominal Right Ascension of center of image"
        header["OBJCTDEC"] = (
            _sexagesimal(shot.field.dec, precision=1),
            "Nominal Declination of center of image",
        )
    if shot.incident is Incident.NO_DATE:
        del header["DATE-OBS"], header["JD"]
    return header


def _image_type(shot: Shot) -> str:
    return "Focus Frame" if shot.incident is Incident.UNKNOWN_TYPE else _IMAGE_TYPES[shot.kind]


def _sexagesimal(degrees: float, precision: int = 0) -> str:
    return str(
        Angle(degrees, "deg").to_string("deg", sep=" ", precision=precision, pad=True, alwayssign=True)
    )
