"""Imported by every Airflow process while it starts (entry point group `airflow.policy`).

It holds no policy. It is the one place that a Celery worker passes before it forks its task processes.
"""

from __future__ import annotations

import sys

from toros.warm import is_celery_worker, warm_up

if is_celery_worker(sys.argv):
    warm_up()
