"""Components of Airflow are killed while DAGs run. Every file is noticed, and every run gets through."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toros.sandbox import IMPATIENCE, Sandbox, processes

DAG = """
import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset, AssetWatcher, chain, task
from toros.triggers.frames import NewFramesTrigger

frames = Asset("frames", watchers=[AssetWatcher(name="inbox", trigger=NewFramesTrigger([os.environ["INBOX"]]))])

with DAG("counted", schedule=[frames], default_args={"retries": 20, "retry_delay": timedelta(seconds=1)}):

    @task
    def count():
        time.sleep(0.5)
        for path in Path(os.environ["INBOX"]).iterdir():
            (Path(os.environ["SEEN"]) / path.name).touch()

    chain(*(count.override(task_id=f"count_{n}")() for n in range(2)))
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    for name in ("dags", "inbox", "seen"):
        (tmp_path / name).mkdir()
    (tmp_path / "dags" / "counted.py").write_text(DAG)
    places = {"INBOX": str(tmp_path / "inbox"), "SEEN": str(tmp_path / "seen")}
    with Sandbox(
        tmp_path, dags=tmp_path / "dags", dag_ids=["counted"], environ=places | IMPATIENCE, parallelism=2
    ) as airflow:
        yield airflow


@pytest.mark.airflow
@pytest.mark.chaos
def test_no_file_goes_unnoticed_while_components_are_killed(sandbox: Sandbox) -> None:
    dice = random.Random(1054)
    arrived = set()
    for number in range(8):
        name = f"frame_{number}.txt"
        (sandbox.folder / "inbox" / name).write_text("a frame")
        arrived.add(name)
        victim = dice.choice(sorted(sandbox.services.components))
        time.sleep(dice.uniform(0.5, 3.0))
        sandbox.kill_component(victim)
        time.sleep(dice.uniform(0.0, 2.0))
        sandbox.start_component(victim)

    def all_seen() -> bool:
        return {path.name for path in (sandbox.folder / "seen").iterdir()} == arrived

    def all_over() -> bool:
        return all(run["state"] not in ("queued", "running") for run in sandbox.api.runs("counted"))

    assert processes.wait_until(all_seen, seconds=180, every=0.5)
    assert processes.wait_until(all_over, seconds=120, every=0.5), sandbox.api.task_instances("counted")
    assert {run["state"] for run in sandbox.api.runs("counted")} == {"success"}
