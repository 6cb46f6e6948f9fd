"""What a reader of a product must know: success with caveats is recorded, never silent."""

from __future__ import annotations

from enum import StrEnum


class Caveat(StrEnum):
    """The codes that products carry; LEGEND says what each means."""

    GENERIC_CAMERA = "generic_camera"
    CORRECTED_BEFORE = "corrected_before"
    STACKED_BEFORE = "stacked_before"
    GAIN_ASSUMED = "gain_assumed"
    READ_NOISE_ASSUMED = "read_noise_assumed"
    SATURATION_ASSUMED = "saturation_assumed"
    FEW_FRAMES = "few_frames"
    FIRST_MASTER = "first_master"
    LEVEL_CHANGED = "level_changed"
    DARK_WITH_BIAS = "dark_with_bias"
    FLAT_WITHOUT_BIAS = "flat_without_bias"
    NO_BIAS = "no_bias"
    NO_DARK = "no_dark"
    NO_FLAT = "no_flat"
    OTHER_NIGHT = "other_night"
    DARK_SCALED = "dark_scaled"
    DARK_OTHER_EXPOSURE = "dark_other_exposure"
    OTHER_TEMPERATURE = "other_temperature"
    COSMIC_RAYS_NOT_SOUGHT = "cosmic_rays_not_sought"
    BAND_APPROXIMATE = "band_approximate"
    NO_ZERO_POINT = "no_zero_point"
    IN_REFERENCE = "in_reference"


LEGEND: dict[Caveat, str] = {
    Caveat.GENERIC_CAMERA: "the camera has no profile of its own; geometry and gain come from the header",
    Caveat.CORRECTED_BEFORE: "the capture program has corrected the frame already (CALSTAT)",
    Caveat.STACKED_BEFORE: "the capture program has combined several exposures into this frame",
    Caveat.GAIN_ASSUMED: "the gain is unknown; 1 e-/ADU was assumed, so electrons are ADU",
    Caveat.READ_NOISE_ASSUMED: "the read noise is unknown; it was taken as 0 in the variance",
    Caveat.SATURATION_ASSUMED: "the saturation level is unknown; the largest number of the format was taken",
    Caveat.FEW_FRAMES: "made of fewer frames than the rules want",
    Caveat.FIRST_MASTER: "nothing to compare with: the first master of its set",
    Caveat.LEVEL_CHANGED: "the level differs from the last good master's",
    Caveat.DARK_WITH_BIAS: "the master dark still holds the bias; it fits frames of its own exposure time only",
    Caveat.FLAT_WITHOUT_BIAS: "no bias and no dark was subtracted from the flats",
    Caveat.NO_BIAS: "no bias was subtracted",
    Caveat.NO_DARK: "no dark was subtracted",
    Caveat.NO_FLAT: "not divided by a flat",
    Caveat.OTHER_NIGHT: "a master of another night was used",
    Caveat.DARK_SCALED: "no dark of this exposure time; another one was scaled to it",
    Caveat.DARK_OTHER_EXPOSURE: "no dark of this exposure time; the nearest one was taken as it is",
    Caveat.OTHER_TEMPERATURE: "the sensor was warmer or colder than in the master",
    Caveat.COSMIC_RAYS_NOT_SOUGHT: "cosmic rays were not looked for",
    Caveat.BAND_APPROXIMATE: "magnitudes refer to a catalogue band that is only like the filter's",
    Caveat.NO_ZERO_POINT: "no magnitudes: no catalogue has stars of a fitting band in the frame",
    Caveat.IN_REFERENCE: "the frame is part of the reference that was subtracted: what it shows is weakened",
}
