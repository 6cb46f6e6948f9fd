"""How capture programs write their headers, as data."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from astropy.io import fits
from pydantic import Field

from toros.instruments.cards import Keywords, card_text
from toros.instruments.data_file import DataModel

ImageType = Literal["Bias", "Dark", "Flat", "Science"]
"""What a frame was taken for, in TORITOS's words."""

CardPatterns = Annotated[dict[str, re.Pattern[str]], Field(min_length=1)]
"""Regular expressions that the values of these cards must match, all of them."""


class Quantities(DataModel):
    """The cards of each quantity, best first. What a dialect leaves out is taken from the generic one."""

    instrument: Keywords = ()
    date_obs: Keywords = ()
    """Day, or day and time, when the exposure started (UTC)."""
    time_obs: Keywords = ()
    """Time of day, for headers whose date has none."""
    jd: Keywords = ()
    mjd: Keywords = ()
    time_scale: Keywords = ()
    exptime: Keywords = ()
    """Seconds."""
    imagetype: Keywords = ()
    filter: Keywords = ()
    ccdtemp: Keywords = ()
    """Degrees Celsius."""
    set_temp: Keywords = ()
    xbinning: Keywords = ()
    ybinning: Keywords = ()
    xorigin: Keywords = ()
    """First column that was read, 0 for whole frames."""
    yorigin: Keywords = ()
    gain_setting: Keywords = ()
    """The camera's gain knob, in its own unit."""
    egain: Keywords = ()
    """Electrons per ADU."""
    offset_setting: Keywords = ()
    readoutm: Keywords = ()
    object: Keywords = ()
    observer: Keywords = ()
    ra: Keywords = ()
    dec: Keywords = ()
    focal_length: Keywords = ()
    """Millimetres."""
    xpixsz: Keywords = ()
    """Micrometres, binned."""
    ypixsz: Keywords = ()
    bayer: Keywords = ()
    bayer_xoffset: Keywords = ()
    bayer_yoffset: Keywords = ()
    latitude: Keywords = ()
    longitude: Keywords = ()
    """East positive."""
    elevation: Keywords = ()
    """Metres."""
    calibration_status: Keywords = ()
    """Filled when the capture program has corrected the frame already."""
    exposures_combined: Keywords = ()


class TypeRule(DataModel):
    """A way to tell the image type where IMAGETYP does not.

    `where` is a card, or ``path``: then the file name without its suffixes and the folders above it are
    searched, nearest first.
    """

    where: str
    matches: re.Pattern[str]
    type: ImageType
    wins_over_header: bool = False
    """For programs and observers whose IMAGETYP is known to be wrong."""


class DateMark(DataModel):
    """A comment of DATE-OBS that says which moment of the exposure is meant."""

    comment: re.Pattern[str]
    exposure_fraction: float = Field(ge=0, le=1)
    """Part of the exposure that had passed: 0.5 for mid-exposure, 1 for its end."""


class Dialect(DataModel):
    """How a capture program writes its headers."""

    name: str
    description: str = ""
    rank: int = 0
    """Dialects of higher rank are asked first."""
    recognise: tuple[CardPatterns, ...] = ()
    """Alternatives; each is a set of cards that must all match."""
    quantities: Quantities = Quantities()
    image_types: dict[ImageType, tuple[str, ...]] = Field(default_factory=dict)
    """Values of the image type card; case, underscores and hyphens do not matter."""
    unsaid_types: tuple[str, ...] = ()
    """Values of the image type card that say nothing."""
    no_filter: tuple[str, ...] = ()
    """Values of the filter card that mean: no filter in the beam."""
    unnamed: tuple[str, ...] = ()
    """Values of texts (object, observer, instrument) that say nothing."""
    type_rules: tuple[TypeRule, ...] = ()
    date_marks: tuple[DateMark, ...] = ()

    def is_spoken_in(self, header: fits.Header) -> bool:
        """Tell whether this program wrote the header."""
        return any(all_match(alternative, header) for alternative in self.recognise)

    def based_on(self, generic: Dialect) -> Dialect:
        """Fill in from the generic dialect what this one does not say."""
        quantities = generic.quantities.model_copy(
            update={name: getattr(self.quantities, name) for name in self.quantities.model_fields_set}
        )
        types = {**generic.image_types}
        for kind, words in self.image_types.items():
            types[kind] = words + generic.image_types.get(kind, ())
        lists = {
            name: getattr(self, name) + getattr(generic, name)
            for name in ("unsaid_types", "no_filter", "unnamed", "type_rules", "date_marks")
        }
        return self.model_copy(update={"quantities": quantities, "image_types": types, **lists})

    def type_of(self, text: str) -> ImageType | None:
        """Translate the value of the image type card; own words come before generic ones."""
        word = normalise(text)
        return next((kind for kind, words in self.image_types.items() if word in map(normalise, words)), None)


def normalise(word: str) -> str:
    """Reduce a word of a header to what matters: lower case, single blanks for any separator."""
    return " ".join(re.split(r"[\s_-]+", word.casefold())).strip()


def all_match(cards: CardPatterns, header: fits.Header) -> bool:
    """Tell whether the header fits all these patterns."""
    return all(pattern.search(card_text(header, card)) for card, pattern in cards.items())
