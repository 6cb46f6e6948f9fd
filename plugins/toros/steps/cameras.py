"""The set-up that a frame was taken with: what calibration frames must share with it, and its geometry."""

from __future__ import annotations

from dataclasses import dataclass

from toros.caveats import Caveat
from toros.config import Settings
from toros.instruments import CameraProfile, load_profiles
from toros.models import CalFile, MasterCal, Pawprint
from toros.science.geometry import Geometry
from toros.steps.calibration_rules import CalibrationRules


@dataclass(frozen=True)
class Camera:
    """What the pixels of a frame mean."""

    profile: CameraProfile
    geometry: Geometry
    saturation: float
    """Raw ADU."""
    caveats: tuple[Caveat, ...]


def profile_of(name: str, settings: Settings) -> CameraProfile:
    """Return the camera profile of that name."""
    directories = (settings.profiles_dir,) if settings.profiles_dir else ()
    return load_profiles(directories).camera(name)


def camera_of(frame: Pawprint | CalFile, settings: Settings) -> Camera:
    """Return the camera of a frame, with what had to be assumed about it."""
    profile = profile_of(frame.campaign.ccd.profile, settings)
    geometry = profile.geometry(frame.xbinning, frame.ybinning, (frame.naxis2, frame.naxis1), frame.egain)
    caveats = []
    if profile.gain is None and frame.egain is None:
        caveats.append(Caveat.GAIN_ASSUMED)
    if profile.read_noise is None:
        caveats.append(Caveat.READ_NOISE_ASSUMED)
    if profile.saturation is None:
        caveats.append(Caveat.SATURATION_ASSUMED)
    return Camera(profile, geometry, profile.saturation or _largest_number(frame), tuple(caveats))


def temperature_of(frame: Pawprint | CalFile, rules: CalibrationRules) -> float | None:
    """Return the temperature of the sensor in degrees Celsius: the set point if it is held, else the measured one."""
    return frame.set_temp if _holds_set_point(frame, rules) else frame.ccdtemp


def is_as_warm(frame: CalFile, first: CalFile, rules: CalibrationRules) -> bool:
    """Tell whether a frame may belong to the set of that first frame, as far as the temperature goes."""
    if "temperature" not in getattr(rules.sets, first.imagetype):
        return True
    one, other = temperature_of(frame, rules), temperature_of(first, rules)
    if one is None or other is None:
        return one is other
    both_held = _holds_set_point(frame, rules) and _holds_set_point(first, rules)
    reach = rules.sets.temperature_range if both_held else rules.sets.uncooled_temperature_range
    return abs(one - other) <= reach


def set_key(first: CalFile, rules: CalibrationRules) -> str:
    """Name the calibration set that begins with a frame, its temperature to a degree."""
    temperature = temperature_of(first, rules)
    parts = [setup_of(first, rules)]
    if "temperature" in getattr(rules.sets, first.imagetype) and temperature is not None:
        parts.append(f"temperature={round(temperature)}")
    return "|".join(parts)


def setup_of(frame: CalFile, rules: CalibrationRules) -> str:
    """Name what the frames of a calibration set share exactly: all but the temperature."""
    parts = [frame.imagetype, f"ccd={frame.campaign.ccd_id}", f"size={frame.naxis1}x{frame.naxis2}"]
    for column in getattr(rules.sets, frame.imagetype):
        value = None if column == "temperature" else getattr(frame, column)
        if value is not None:
            parts.append(f"{column}={value:g}" if isinstance(value, int | float) else f"{column}={value}")
    return "|".join(parts)


def new_master(frame: CalFile, rules: CalibrationRules, version: int) -> MasterCal:
    """Make the row of a master for the set that a frame belongs to."""
    return MasterCal(
        imagetype=frame.imagetype,
        set_key=set_key(frame, rules),
        night=frame.night,
        version=version,
        ccd_id=frame.campaign.ccd_id,
        xbinning=frame.xbinning,
        ybinning=frame.ybinning,
        naxis1=frame.naxis1,
        naxis2=frame.naxis2,
        gain_setting=frame.gain_setting,
        offset_setting=frame.offset_setting,
        readoutm=frame.readoutm,
        set_temp=temperature_of(frame, rules),
        exptime=frame.exptime if frame.imagetype == "Dark" else None,
        filter=frame.filter if frame.imagetype == "Flat" else None,
    )


def _holds_set_point(frame: Pawprint | CalFile, rules: CalibrationRules) -> bool:
    """Tell whether the cooler held its set point; without a measured temperature it is believed to."""
    if frame.set_temp is None:
        return False
    return frame.ccdtemp is None or abs(frame.ccdtemp - frame.set_temp) <= rules.science.temperature_tolerance


def _largest_number(frame: Pawprint | CalFile) -> float:
    if frame.bitpix == 8:
        return 255.0
    if frame.bitpix == 16:
        return 65535.0 if (frame.bzero or 0) > 0 else 32767.0
    return float(2**31 - 1)
