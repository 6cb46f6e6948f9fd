"""A real Airflow on this machine, in one folder: to show it, to test it, and to break it on purpose."""

from __future__ import annotations

from toros.sandbox.airflow import IMPATIENCE, Sandbox, Services
from toros.sandbox.api import AirflowApi

__all__ = ["IMPATIENCE", "AirflowApi", "Sandbox", "Services"]
