"""How the errors of the pipeline (toros.errors) become the states of Airflow's tasks. Written down here only.

====================  ====================================================================
Transient             retried with exponential back-off, from 5 seconds to 10 minutes
Unprocessable         failed at once, no retry: the item is in its error state, others go on
NothingToDo           skipped
Misconfigured         failed at once, no retry: a person must act
anything else         a bug, or Airflow itself in trouble: retried like Transient
====================  ====================================================================

A task that failed because of its item leaves the reason as an XCom, and the run is a success all the same
(see :mod:`toros.operators.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowSkipException

from toros.errors import NothingToDo, Unprocessable

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule("toros.errors.Unprocessable", RetryAction.FAIL, reason="this item cannot be processed"),
        RetryRule("toros.errors.Misconfigured", RetryAction.FAIL, reason="a person must act"),
    ]
)

RETRIES: dict[str, Any] = {
    "retries": 10,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": RETRY_POLICY,
}

UNPROCESSABLE_KEY = "toros_unprocessable"
"""XCom with the reason why the item of a task cannot be processed."""


@contextmanager
def fate_of_task(context: Context) -> Iterator[None]:
    """Let a task without work be skipped, and one whose item cannot be processed leave the reason behind."""
    try:
        yield
    except NothingToDo as nothing:
        raise AirflowSkipException(str(nothing)) from nothing
    except Unprocessable as unprocessable:
        context["ti"].xcom_push(key=UNPROCESSABLE_KEY, value=str(unprocessable))
        raise
