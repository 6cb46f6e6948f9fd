"""Rendering: templates, and how quantities are written."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toros import __version__
from toros.links import URL_PREFIX
from toros.web.items import LONGEST_LIST
from toros.web.runs import TaskInstance
from toros.web.titles import set_in_words

STATIC_FOLDER = Path(__file__).parent / "static"


def render(request: Request, template: str, status_code: int = 200, **context: Any) -> HTMLResponse:
    """Fill in a template."""
    root: str = request.scope.get("root_path", "")
    page = _environment.get_template(template).render(
        root=root, airflow=root.removesuffix(URL_PREFIX), version=__version__, **context
    )
    return HTMLResponse(page, status_code)


def task_path(task: TaskInstance) -> str:
    """Return the path of a task's page in the Airflow UI."""
    dag, run, name = (quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id))
    mapped = f"/mapped/{task.map_index}" if task.map_index is not None and task.map_index >= 0 else ""
    shown_try = f"?try_number={task.try_number}" if task.try_number else ""
    return f"/dags/{dag}/runs/{run}/tasks/{name}{mapped}{shown_try}"


def clock(moment: dt.datetime) -> str:
    """Write the time of day (UT)."""
    return moment.astimezone(dt.UTC).strftime("%H:%M:%S")


def moment(value: dt.datetime) -> str:
    """Write date and time of day (UT)."""
    return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def minute(value: dt.datetime) -> str:
    """Write date and time of day (UT), without seconds."""
    return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M")


def number(value: float) -> str:
    """Write a measured number: four digits are what a person compares."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Write seconds in the unit that suits them."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def right_ascension(degrees: float) -> str:
    """Write degrees as hours, minutes and seconds."""
    hundredths = round(degrees * 24_000) % 8_640_000
    minutes, seconds = divmod(hundredths, 6000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds / 100:05.2f}"


def declination(degrees: float) -> str:
    """Write degrees with minutes and seconds of arc."""
    minutes, seconds = divmod(round(abs(degrees) * 36_000), 600)
    sign = "-" if degrees < 0 else "+"
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}:{seconds / 10:04.1f}"


def size(n_bytes: float) -> str:
    """Write a number of bytes in the unit that suits it."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def value(fact: object) -> str:
    """Write what a column holds."""
    match fact:
        case dt.datetime():
            return moment(fact)
        case float():
            return f"{fact:.10g}"
        case _:
            return str(fact)


def words(name: str) -> str:
    """Write a name of the database as words."""
    return name.replace("_", " ")


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["longest_list"] = LONGEST_LIST
_environment.filters |= {
    "clock": clock,
    "declination": declination,
    "duration": duration,
    "minute": minute,
    "moment": moment,
    "number": number,
    "right_ascension": right_ascension,
    "size": size,
    "task_path": task_path,
    "value": value,
    "set_in_words": set_in_words,
    "words": words,
}
