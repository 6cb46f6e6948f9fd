"""The last resort of plate solving: astrometry.net with indexes of the catalogues on this machine, and no hint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from astropy.wcs.utils import proj_plane_pixel_scales

from toros.catalogues import open_catalogues, reference_stars
from toros.catalogues.astrometry_net import find_programs, solve_blind
from toros.errors import NoPlateSolution, ProgramMissing
from toros.science.detect import Stars
from toros.science.plate import Hint
from toros.steps.pointing import Attempt, Pointing

INDEXES = ".indexes"
"""Beside the catalogues: a folder for each that was indexed (`toros catalogue index`)."""

RADIUS = 0.1
"""Degrees by which the place that astrometry.net finds may be off."""


@dataclass(frozen=True)
class BlindSolver:
    """Asks astrometry.net, which is installed, for hints; its own solution is only where ours begins."""

    catalogues: Path
    names: tuple[str, ...]
    """Of the catalogues that were indexed."""
    scratch: Path
    epoch: float
    """Julian year."""

    @classmethod
    def available(cls, catalogues: Path, scratch: Path, epoch: float) -> BlindSolver | None:
        """Return it if the programs are installed and a catalogue was indexed."""
        names = tuple(
            catalogue.name
            for catalogue in open_catalogues(catalogues)
            if (catalogues / INDEXES / catalogue.name).is_dir()
        )
        try:
            find_programs()
        except ProgramMissing:
            return None
        return cls(catalogues, names, scratch, epoch) if names else None

    def attempts(self, stars: Stars, shape: tuple[int, int]) -> Iterator[Attempt]:
        """Yield a hint for each catalogue in whose index the frame was found."""
        for name in self.names:
            index = self.catalogues / INDEXES / name
            self.scratch.mkdir(parents=True, exist_ok=True)
            try:
                wcs = solve_blind(stars.x, stars.y, stars.flux, shape, index, self.scratch)
            except NoPlateSolution:
                continue
            ra, dec = map(float, wcs.all_pix2world((shape[1] - 1) / 2, (shape[0] - 1) / 2, 0))
            scale = float(proj_plane_pixel_scales(wcs).mean()) * 3600
            reach = RADIUS + scale * max(shape) / 3600
            around = reference_stars(self.catalogues, ra, dec, reach, self.epoch, catalogue=name)
            yield Attempt(Pointing("blind", Hint(ra, dec, RADIUS, scale)), around, name)
