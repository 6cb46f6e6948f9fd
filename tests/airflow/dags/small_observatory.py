"""An observatory behind the DAGs: what the camera wrote, and what became of it."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from toros.models import Item, Pawprint, Product, State, StepRun
from toros.steps.calibration_rules import read_rules
from toros.steps.discover import Discover
from toros.steps.load import Load
from toros.steps.pending import items_waiting_for
from toros.steps.runner import Runner


@dataclass(frozen=True)
class Observatory:
    """A folder with the inbox and the data root, and a runner for what needs no Airflow."""

    folder: Path
    night: Path
    runner: Runner

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def take(self, *kinds: str, count: int | None = None) -> list[Path]:
        """Let the camera write frames: "bias", "dark", "flat", "light"; by default all there are."""
        frames = [frame for kind in kinds for frame in sorted((self.night / kind).iterdir())[:count]]
        return [Path(shutil.copy2(frame, self.inbox)) for frame in frames]

    def load(self) -> None:
        """Register what the camera wrote, without Airflow."""
        self.runner.run(Discover())
        with self.runner.database.read() as session:
            arrivals = items_waiting_for(session, Load)
        for arrival in arrivals:
            self.runner.run(Load(), arrival)

    def change_rules(self, old: str, new: str) -> None:
        """Change a calibration rule."""
        path = self.folder / "calibration.toml"
        path.write_text(path.read_text().replace(old, new))
        read_rules.cache_clear()

    def damage_raw_file(self, item: int) -> None:
        """Let a raw file of the data root lose its last part."""
        with self.runner.database.read() as session:
            path = session.scalars(
                select(Product.path).where(Product.item_id == item, Product.kind == "raw")
            ).one()
        file = self.runner.store.path(path)
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:5000])

    def break_profile(self) -> None:
        """Let a person make a mistake in the profile of the camera."""
        for profile in (self.folder / "profiles" / "cameras").iterdir():
            profile.write_text("gain = 'high'")

    def states(self, kind: type[Item] = Pawprint) -> Counter[str]:
        """Count the items of a kind by state."""
        query = select(State.name, func.count()).join(kind.state).select_from(kind).group_by(State.name)
        with self.runner.database.read() as session:
            return Counter(dict(session.execute(query).all()))

    def items(self, kind: type[Item] = Pawprint) -> list[int]:
        """List the items of a kind."""
        with self.runner.database.read() as session:
            return list(session.scalars(select(kind.id).order_by(kind.id)))

    def products(self) -> list[Product]:
        """List all products."""
        with self.runner.database.read() as session:
            return list(session.scalars(select(Product).order_by(Product.id)))

    def step_runs(self, step: str) -> list[StepRun]:
        """List the runs of a step."""
        with self.runner.database.read() as session:
            return list(session.scalars(select(StepRun).where(StepRun.step == step).order_by(StepRun.id)))
