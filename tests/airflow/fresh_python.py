"""What the fixture ``in_fresh_python`` takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Report = dict[str, Any]
InFreshPython = Callable[..., Report]
