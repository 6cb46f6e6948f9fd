"""Values out of header cards: numbers, texts and angles, in every notation that capture programs use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from pydantic import BeforeValidator

from toros.errors import BadHeader
from toros.instruments.data_file import DataModel

_NUMBER = re.compile(
    r"(?P<number>[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eEdD][+-]?\d+)?)\s*"
    r"(?:C|degC|°C|deg|s|sec|seconds|mm|um|µm|microns?|m|e-/ADU)?",
)
_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<whole>\d{1,3})\s*[:h°d\s]\s*(?P<minutes>\d{1,2}(?:[.,]\d*)?)"
    r"(?:(?:\s*[:m'′]\s*|\s+)(?P<seconds>\d{1,2}(?:[.,]\d*)?)\s*[s\"″]?|[m'′])?"
)


class Keyword(DataModel):
    """Where a quantity stands in the header.

    `scale` turns the number into the unit of the quantity (1e-3 for milliseconds); `part` picks one word of a
    card that holds several (``CCDSUM = '2 2'``).
    """

    card: str
    scale: float = 1.0
    part: int | None = None


def _as_table(value: Any) -> Any:
    return {"card": value} if isinstance(value, str) else value


Keywords = tuple[Annotated[Keyword, BeforeValidator(_as_table)], ...]
"""Cards that may hold a quantity, best first; in a data file the bare name of a card will do."""


def card_text(header: fits.Header, card: str) -> str:
    """Give the value of a card as text without surrounding blanks; empty where there is none.

    Raises
    ------
    BadHeader
        The card is broken beyond repair.
    """
    if card not in header:
        return ""
    try:
        value = header[card]
    except VerifyError as error:
        raise BadHeader(f"the card {card} cannot be read ({error})") from None
    return "" if isinstance(value, fits.card.Undefined) else str(value).strip()


def text_of(header: fits.Header, keywords: Iterable[Keyword]) -> str | None:
    """Give the first of these cards that says anything, as text without surrounding blanks."""
    for keyword in keywords:
        text = _text(header, keyword)
        if text:
            return text
    return None


def number_of(header: fits.Header, keywords: Iterable[Keyword]) -> float | None:
    """Give the first of these cards that holds a finite number, in the unit of the quantity.

    Decimal commas and numbers in strings are understood, with the usual unit behind them or without.
    """
    for keyword in keywords:
        value = parse_number(_text(header, keyword))
        if value is not None:
            return value * keyword.scale
    return None


def degrees_of(header: fits.Header, keywords: Iterable[Keyword], *, sexagesimal_unit: float) -> float | None:
    """Give the first of these cards that holds an angle, in degrees.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the frame.
    keywords : iterable of Keyword
        Cards to look at. Plain numbers are degrees, unless the keyword has a scale.
    sexagesimal_unit : float
        Degrees per unit of a sexagesimal value: 15 for right ascensions, which are in hours.
    """
    for keyword in keywords:
        text = _text(header, keyword)
        value = parse_number(text)
        if value is not None:
            return value * keyword.scale
        angle = parse_sexagesimal(text)
        if angle is not None:
            return angle * sexagesimal_unit
    return None


def parse_number(text: str) -> float | None:
    """Read a number as people and programs write it: ``1.5``, ``6,4E-05``, ``1.0D+02``, ``11 C``."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    value = float(match["number"].replace(",", ".").upper().replace("D", "E"))
    return value if math.isfinite(value) else None


def parse_sexagesimal(text: str) -> float | None:
    """Read ``12 34 56.7``, ``-00:55:31``, ``12h34m`` or ``12 34.5`` in units of its first part."""
    match = _SEXAGESIMAL.fullmatch(text)
    if match is None:
        return None
    minutes, seconds = (float((match[name] or "0").replace(",", ".")) for name in ("minutes", "seconds"))
    if minutes >= 60 or seconds >= 60:
        return None
    value = float(match["whole"]) + minutes / 60 + seconds / 3600
    return -value if match["sign"] == "-" else value


def _text(header: fits.Header, keyword: Keyword) -> str:
    text = card_text(header, keyword.card)
    if keyword.part is None:
        return text
    parts = text.replace(",", " ").replace("x", " ").split()
    return parts[keyword.part] if keyword.part < len(parts) else ""
