"""Whether a FITS file is as long as its headers promise.

Standard library only: this runs beside the watched folder, in Airflow's triggerer, where no array package may
be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from toros.errors import BadHeader, NotFits, Truncated

BLOCK = 2880
CARD = 80

_PRINTABLE = bytes(range(32, 127))


def is_whole(path: str | os.PathLike[str]) -> bool | None:
    """Tell whether a plain FITS file has arrived completely.

    Parameters
    ----------
    path : path-like
        A file that may still be growing.

    Returns
    -------
    bool or None
        True when the file reaches the end of the last data unit that its headers announce (some programs
        leave out the padding of the last block), False when it is shorter, None when its length cannot be
        judged: compressed files, and files that are not FITS.

    Raises
    ------
    OSError
        The file cannot be opened or read.
    """
    with Path(path).open("rb") as stream:
        try:
            *_, last = scan(stream)
        except Truncated:
            return False
        except (NotFits, BadHeader):
            return None
        return last.data_end <= stream.seek(0, os.SEEK_END)


@dataclass(frozen=True, slots=True)
class HeaderUnit:
    """The header of one HDU, and where its data lie in the file (all in bytes)."""

    cards: bytes
    data_offset: int
    data_size: int

    @property
    def data_end(self) -> int:
        """First byte after the data, without padding."""
        return self.data_offset + self.data_size

    @property
    def padded_end(self) -> int:
        """First byte after the data and their padding."""
        return self.data_offset + padded_size(self.data_size)

    @property
    def axes(self) -> tuple[int, ...]:
        """NAXIS1, NAXIS2, ... (of the packed image, where the HDU is a tile-compressed one)."""
        prefix = "Z" if self.is_tile_compressed else ""
        return tuple(self.integer(f"{prefix}NAXIS{n}") for n in range(1, self.integer(f"{prefix}NAXIS") + 1))

    @property
    def is_tile_compressed(self) -> bool:
        """Whether the HDU is a table that holds a tile-compressed image."""
        return self.text("ZIMAGE") == "T"

    def text(self, keyword: str) -> str | None:
        """Give the value of a card without quotes and comment; None where there is no such card."""
        start = keyword.encode().ljust(8) + b"="
        for position in range(0, len(self.cards), CARD):
            if self.cards.startswith(start, position):
                value = self.cards[position + len(start) : position + CARD].decode("latin-1").strip()
                return value[1:].split("'")[0].rstrip() if value[:1] == "'" else value.split("/")[0].rstrip()
        return None

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Give the value of a card that must hold a number of things.

        Raises
        ------
        BadHeader
            The card is missing (and there is no default), or does not hold an integer.
        """
        text = self.text(keyword)
        if text is None:
            if default is None:
                raise BadHeader(f"the header has no {keyword}")
            return default
        try:
            return int(text)
        except ValueError:
            raise BadHeader(f"{keyword} = {text!r} is not an integer") from None


def scan(stream: BinaryIO) -> Iterator[HeaderUnit]:
    """Walk through the HDUs of a FITS file, reading nothing but the headers.

    The data of the last unit may reach beyond the end of the file: that is for the caller to see.

    Raises
    ------
    NotFits
        The file does not start like a FITS file.
    Truncated
        The file ends within a header.
    BadHeader
        A card that gives the size of the data is missing or senseless.
    """
    length = stream.seek(0, os.SEEK_END)
    offset = 0
    while offset == 0 or offset < length:
        stream.seek(offset)
        first = stream.read(BLOCK)
        if offset == 0:
            _check_start(first)
        elif not b"XTENSION".startswith(first[:8]):
            return  # the standard allows special records after the last HDU
        unit = _read_header(stream, first, offset)
        yield unit
        offset = unit.padded_end


def padded_size(size: int) -> int:
    """Round a number of bytes up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _check_start(first: bytes) -> None:
    expected = b"SIMPLE  ="
    if not first.startswith(expected):
        if expected.startswith(first[: len(expected)]):
            raise Truncated(f"the file ends after {len(first)} bytes, within its first card")
        raise NotFits("the file does not start with the card SIMPLE")
    if b"\n" in first[: 2 * CARD]:
        raise NotFits("the file is the text of a FITS header, with line breaks between the cards")
    if first[len(expected) : 30].strip() == b"F":
        raise NotFits("the file says of itself that it does not conform to FITS (SIMPLE = F)")


def _read_header(stream: BinaryIO, first: bytes, offset: int) -> HeaderUnit:
    blocks = [first]
    while not _has_end(blocks[-1]):
        if len(blocks[-1]) < BLOCK:
            raise Truncated(f"the file ends within a header, after {offset + sum(map(len, blocks)):,} bytes")
        if len(blocks[-1].translate(None, _PRINTABLE)) > BLOCK // 2:
            raise BadHeader(f"the header at byte {offset:,} has no END card before the data")
        blocks.append(stream.read(BLOCK))
    cards = b"".join(blocks)
    bare = HeaderUnit(cards, offset + padded_size(len(cards)), 0)
    return HeaderUnit(cards, bare.data_offset, _data_size(bare, is_primary=offset == 0))


def _has_end(block: bytes) -> bool:
    return any(block[position : position + 8].rstrip() == b"END" for position in range(0, len(block), CARD))


def _data_size(unit: HeaderUnit, *, is_primary: bool) -> int:
    bitpix = unit.integer("BITPIX")
    if bitpix not in {8, 16, 32, 64, -32, -64}:
        raise BadHeader(f"BITPIX = {bitpix} is none of 8, 16, 32, 64, -32, -64")
    axes = [unit.integer(f"NAXIS{n}") for n in range(1, unit.integer("NAXIS") + 1)]
    if any(axis < 0 for axis in axes):
        raise BadHeader(f"the axes {axes} have a negative length")
    if not axes:
        return 0
    parameters, groups = 0, 1
    has_groups = unit.text("GROUPS") == "T" and axes[0] == 0
    if has_groups or not is_primary:
        parameters, groups = unit.integer("PCOUNT", 0), unit.integer("GCOUNT", 1)
    pixels = 1
    for axis in axes[1:] if has_groups else axes:
        pixels *= axis
    return abs(bitpix) // 8 * groups * (parameters + pixels)
