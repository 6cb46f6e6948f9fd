"""The assets that wake the DAGs up. An event says that something waits; what waits is a database query.

They have names and no URI: a URI makes Airflow load all providers whenever a DAG file is parsed.
"""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from toros.config import load_settings
from toros.triggers.frames import NewFramesTrigger


def watched_frames() -> Asset:
    """Return the asset of the watched folders: raised when complete files wait in them."""
    settings = load_settings()
    trigger = NewFramesTrigger(
        [str(folder) for folder in settings.inbox],
        settle_seconds=settings.settle_seconds,
        patience_seconds=settings.patience_seconds,
        poll_seconds=settings.poll_seconds,
    )
    return Asset("toros_raw_frames", watchers=[AssetWatcher(name="inbox", trigger=trigger)])


MORE_FRAMES = Asset("toros_more_frames")
"""Raised by a run of toros_survey that had to leave science frames for the next one."""

CALIBRATION_FRAMES = Asset("toros_calibration_frames")
"""Raised for an observing night (its partition) when calibration frames wait to be combined."""
