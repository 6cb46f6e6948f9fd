"""From a task in the Airflow UI to what it did: extra links of the operators.

Airflow asks for the links in the worker, when a task has ended, whatever its end; so this imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

URL_PREFIX = "/toros"
"""Where the pages are mounted."""

URL_ROUTE = "toros"
"""Name of the view that shows the pages inside the Airflow UI."""

RUN_ID_KEY = "toros_run_id"
ITEM_ID_KEY = "toros_item_id"


class StepRunLink(BaseOperatorLink):
    """To the step run of a task; to the list of them where a task had many, or failed."""

    name = "Step run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        run_id = _pushed(ti_key, RUN_ID_KEY)
        if run_id is not None:
            return page_in_ui(f"/runs/{run_id}")
        task = {"dag_id": ti_key.dag_id, "run_id": ti_key.run_id, "task_id": ti_key.task_id}
        if ti_key.map_index is not None and ti_key.map_index >= 0:
            task["map_index"] = str(ti_key.map_index)
        return page_in_ui(f"/runs?{urlencode(task)}")


class ProductLink(BaseOperatorLink):
    """To the item that a task worked on, with its products; to the night board where there is no single one."""

    name = "Products"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        item_id = getattr(operator, "item_id", None)  # known before the step begins, so after a failure too
        if not isinstance(item_id, int):
            item_id = _pushed(ti_key, ITEM_ID_KEY)
        return page_in_ui("/" if item_id is None else f"/items/{item_id}")


def page_in_ui(page: str) -> str:
    """Return the path of one of our pages, framed by the Airflow UI."""
    base = airflow_base_path()
    return f"{base}/plugin/{URL_ROUTE}{base}{URL_PREFIX}{page}"


def airflow_base_path() -> str:
    """Return the path below which a reverse proxy serves this Airflow, without a slash at its end; mostly empty."""
    from airflow.sdk.configuration import conf

    base_url: str = conf.get("api", "base_url", fallback="")
    return urlsplit(base_url).path.rstrip("/")


def _pushed(ti_key: TaskInstanceKey, key: str) -> int | None:
    # Only a process that runs tasks has anybody to ask; a DAG file that is parsed need not load this.
    from airflow.sdk.execution_time.xcom import XCom

    value: int | None = XCom.get_value(ti_key=ti_key, key=key)
    return value
