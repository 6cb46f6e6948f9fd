"""The DAG files: what an astronomer and an Airflow administrator read in them, before anything runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toros.steps.registry import find_steps
from toros.steps.send_back import Decision

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from .local_airflow import LocalAirflow

REPOSITORY = Path(__file__).parents[3]
DAG_IDS = ["toros_masters", "toros_stack", "toros_step", "toros_survey"]

PARSE = """
import hashlib, json, sys, warnings

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    bag = DagBag(sys.argv[1])
dags = {dag_id: json.dumps(DagSerialization.to_dict(dag), sort_keys=True) for dag_id, dag in bag.dags.items()}
print(json.dumps({
    "errors": bag.import_errors,
    "warnings": [str(warning.message) for warning in caught if "toros" in warning.filename],
    "captured": {str(file): found for file, found in bag.captured_warnings.items() if found},
    "dags": {dag_id: hashlib.sha256(text.encode()).hexdigest() for dag_id, text in dags.items()},
}))
"""


@pytest.fixture(scope="module")
def dags(airflow: LocalAirflow) -> dict[str, DAG]:
    return {dag_id: airflow.dag(dag_id) for dag_id in DAG_IDS}


def test_the_dags_are_parsed_without_errors_and_warnings_and_the_same_each_time(in_fresh_python: Any) -> None:
    """A DAG that is another one each time it is parsed gets a new version each time."""
    first, again = (
        in_fresh_python(
            PARSE, str(REPOSITORY / "dags"), environ={"PYTHONHASHSEED": seed, "TOROS_DATA_ROOT": "/data"}
        )
        for seed in "12"
    )

    assert first["errors"] == {}
    assert first["warnings"] == []
    assert first["captured"] == {}
    assert sorted(first["dags"]) == DAG_IDS
    assert again["dags"] == first["dags"]


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_every_dag_and_every_task_explains_itself(dags: dict[str, DAG], dag_id: str) -> None:
    dag = dags[dag_id]

    assert dag.doc_md
    assert dag.description
    assert "toros" in dag.tags
    for task in dag.tasks:
        assert task.doc_md, task.task_id
        assert task.owner == "toros", task.task_id


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_no_run_piles_up_behind_a_telescope_that_was_off(dags: dict[str, DAG], dag_id: str) -> None:
    assert not dags[dag_id].catchup


def edges(dag: DAG) -> dict[str, set[str]]:
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def test_the_survey_reads_as_a_stream(dags: dict[str, DAG]) -> None:
    assert edges(dags["toros_survey"]) == {
        "load": {"image_type"},
        "image_type": {"clean_calibration", "science_frames"},
        "clean_calibration": {"wake_masters"},
        "wake_masters": {"verdict"},
        "science_frames": {"exposure.clean", "more_frames"},
        "exposure.clean": {"exposure.preprocess"},
        "exposure.preprocess": {"exposure.solve"},
        "exposure.solve": {"exposure.retry_solve", "exposure.measure"},
        "exposure.retry_solve": {"exposure.review", "exposure.measure"},
        "exposure.review": {"trace_candidates", "more_frames", "wake_stacks"},
        "exposure.measure": {"exposure.difference"},
        "exposure.difference": {"exposure.candidates"},
        "exposure.candidates": {"trace_candidates", "more_frames", "wake_stacks"},
        "trace_candidates": {"verdict"},
        "more_frames": {"verdict"},
        "wake_stacks": {"verdict"},
        "verdict": set(),
    }


def test_masters_are_made_bias_first_then_dark_then_flat(dags: dict[str, DAG]) -> None:
    assert edges(dags["toros_masters"]) == {
        "wait_for_complete_set": {"plan_masters"},
        "plan_masters": {"bias.sets"},
        "bias.sets": {"bias.combine"},
        "bias.combine": {"dark.sets", "wake_survey"},
        "dark.sets": {"dark.combine"},
        "dark.combine": {"flat.sets", "wake_survey"},
        "flat.sets": {"flat.combine"},
        "flat.combine": {"wake_survey"},
        "wake_survey": {"verdict"},
        "verdict": set(),
    }


def test_a_field_is_stacked_before_its_reference_is_chosen(dags: dict[str, DAG]) -> None:
    assert edges(dags["toros_stack"]) == {
        "wait_for_quiet_field": {"plan_stacks"},
        "plan_stacks": {"stacks.wanted"},
        "stacks.wanted": {"stacks.stack"},
        "stacks.stack": {"references.new_stacks"},
        "references.new_stacks": {"references.choose"},
        "references.choose": {"waiting_frames"},
        "waiting_frames": {"exposure.difference"},
        "exposure.difference": {"exposure.candidates"},
        "exposure.candidates": {"trace_candidates"},
        "trace_candidates": {"verdict"},
        "verdict": set(),
    }


@pytest.mark.parametrize("dag_id", ["toros_masters", "toros_stack", "toros_survey"])
def test_the_verdict_alone_decides_the_state_of_a_run(dags: dict[str, DAG], dag_id: str) -> None:
    """The state of a run is that of the tasks that nothing comes after."""
    last = [task for task in dags[dag_id].tasks if not task.downstream_task_ids]

    assert [task.task_id for task in last] == ["verdict"]
    assert last[0].trigger_rule == "all_done"


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_the_documentation_names_tasks_that_exist(dags: dict[str, DAG], dag_id: str) -> None:
    named = re.findall(r"airflow tasks test (\w+) ([\w.]+)", dags[dag_id].doc_md or "")

    assert named
    for other, task_id in named:
        assert dags[other].has_task(task_id)


def test_the_form_offers_every_step_that_no_person_must_sign(dags: dict[str, DAG]) -> None:
    ours = [name for name, step in find_steps().items() if not issubclass(step.Parameters, Decision)]
    offered = dags["toros_step"].params.get_param("step").schema["examples"]

    assert sorted(offered) == sorted(ours)
