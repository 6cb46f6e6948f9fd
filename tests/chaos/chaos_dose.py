"""How much chaos, and by which chance."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import psutil

Tell = Callable[[str], None]
"""Says something at the end of the session."""


@dataclass(frozen=True)
class Dose:
    """How much chaos.

    Attributes
    ----------
    is_short : bool
        Whether a few minutes must do: ``CI`` is set.
    seed : int
        Of all chance: ``TOROS_CHAOS_SEED``, by default another one each time.
    wanted : int
        Processes to kill: ``TOROS_CHAOS_KILLS``; zero if it is not set.
    """

    is_short: bool
    seed: int
    wanted: int

    @classmethod
    def prescribed(cls) -> Self:
        """Read what the environment prescribes."""
        # As this process was started: tests/conftest.py takes the settings of TOROS out of os.environ.
        environ = psutil.Process().environ()
        seed = int(environ.get("TOROS_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
        return cls(bool(os.environ.get("CI")), seed, int(environ.get("TOROS_CHAOS_KILLS") or 0))

    def kills(self, *, short: int, full: int = 300) -> int:
        """Return how many processes to kill at least."""
        return self.wanted or (short if self.is_short else full)
