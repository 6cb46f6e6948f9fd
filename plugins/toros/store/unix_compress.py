"""Files packed with the Unix program ``compress`` (``.Z``), as some archives still hand them out."""

from __future__ import annotations

from toros.errors import Truncated

_CLEAR = 256


def expand(packed: bytes, name: str) -> bytes:
    """Unpack the content of a ``.Z`` file (Welch 1984, IEEE Computer 17, 8).

    Parameters
    ----------
    packed : bytes
        The whole file, starting with its magic number 1f 9d.
    name : str
        What to call the file in an error.

    Raises
    ------
    Truncated
        The stream is damaged, or ends within its own header.
    """
    if len(packed) < 3:
        raise Truncated(f"{name}: the compress stream ends too early")
    largest, has_clear = packed[2] & 0x1F, bool(packed[2] & 0x80)
    if not 9 <= largest <= 16:
        raise Truncated(f"{name}: the compress stream is damaged (codes of {largest} bits)")
    pieces: list[bytes] = []
    table = [bytes([value]) for value in range(256)] + [b""] * has_clear
    first_free = len(table)
    previous = b""
    codes = _Codes(packed, largest)
    while (code := codes.read(len(table) + bool(previous))) is not None:
        if code == _CLEAR and has_clear:
            del table[first_free:]
            previous = b""
            codes.restart()
            continue
        if code < len(table):
            piece = table[code]
        elif code == len(table) and previous:
            piece = previous + previous[:1]
        else:
            raise Truncated(f"{name}: the compress stream is damaged (code {code} of {len(table)})")
        pieces.append(piece)
        if previous and len(table) < 1 << largest:
            table.append(previous + piece[:1])
        previous = piece
    return b"".join(pieces)


class _Codes:
    """The codes of a stream, of 9 to 16 bits, low bit first, written in groups of eight of one width."""

    def __init__(self, packed: bytes, largest: int) -> None:
        self._packed = packed
        self._largest = largest
        self._width = 9
        self._group = 3 * 8
        """Bit where the codes of this width start."""
        self._bit = 3 * 8

    def read(self, expected: int) -> int | None:
        """Give the next code, when codes up to `expected` - 1 are in use; None at the end."""
        if expected > 1 << self._width and self._width < self._largest:
            self._finish_group()
            self._width += 1
        if self._bit + self._width > 8 * len(self._packed):
            return None
        byte, shift = divmod(self._bit, 8)
        code = int.from_bytes(self._packed[byte : byte + 3], "little") >> shift & ((1 << self._width) - 1)
        self._bit += self._width
        return code

    def restart(self) -> None:
        """Go back to 9 bits, after the table was cleared."""
        self._finish_group()
        self._width = 9

    def _finish_group(self) -> None:
        """Skip the padding: a group of eight codes is always written whole."""
        group = 8 * self._width
        self._bit = self._group + -(-(self._bit - self._group) // group) * group
        self._group = self._bit
