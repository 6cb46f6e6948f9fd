"""What Airflow's provider discovery gets to know about TOROS."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

import airflow
from toros.config import OPTIONS
from toros.provider import get_provider_info

INFO = get_provider_info()
MODULES = [
    module
    for kind in ("operators", "sensors", "hooks", "triggers")
    for group in INFO.get(kind, [])
    for module in group["python-modules"]
]


def test_the_description_has_the_layout_that_airflow_asks_for() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


@pytest.fixture(scope="module")
def manager() -> ProvidersManager:
    # What was set up when airflow was imported stays; hooks are looked at when somebody asks.
    return ProvidersManager()


def test_airflow_discovers_the_provider(manager: ProvidersManager) -> None:
    assert manager.providers["toros-airflow"].data["name"] == "TOROS"


def test_the_connection_form_knows_toros(manager: ProvidersManager) -> None:
    hook = ProvidersManagerTaskRuntime().hooks["toros"]

    assert hook is not None
    assert hook.hook_class_name == "toros.hooks.toros.TorosHook"
    widgets = {name: widget.field for name, widget in manager.connection_form_widgets.items()}
    assert {"extra__toros__drivername", "extra__toros__data_root"} <= widgets.keys()
    assert manager.field_behaviours["toros"]["relabeling"]["schema"] == "Database"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_setting_is_a_setting_of_airflow(option: Any) -> None:
    assert conf.get("toros", option.name) == option.default
    assert (("toros", option.name) in conf.sensitive_config_values) == option.sensitive


@pytest.mark.parametrize("module", MODULES)
def test_every_listed_module_exists(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_the_trigger_is_listed() -> None:
    assert "toros.triggers.frames" in MODULES
