"""Cameras and capture programs as data, and what they make of a header."""

from toros.instruments.camera import CameraProfile
from toros.instruments.dates import julian_date, observing_night
from toros.instruments.description import FrameDescription, Site, describe
from toros.instruments.dialect import Dialect
from toros.instruments.profiles import Profiles, load_profiles

__all__ = [
    "CameraProfile",
    "Dialect",
    "FrameDescription",
    "Profiles",
    "Site",
    "describe",
    "julian_date",
    "load_profiles",
    "observing_night",
]
