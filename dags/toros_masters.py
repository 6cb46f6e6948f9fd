"""Master bias, dark and flat of an observing night."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, PartitionedAssetTimetable, TaskGroup, TriggerRule, chain

from toros.assets import CALIBRATION_FRAMES
from toros.config import load_settings
from toros.operators.batches import WantedMastersOperator
from toros.operators.steps import (
    CombineBiasOperator,
    CombineDarkOperator,
    CombineFlatOperator,
    PlanMastersOperator,
)
from toros.operators.verdict import VerdictOperator
from toros.operators.wake_survey import WakeSurveyOperator
from toros.sensors.calibration import CalibrationQuietSensor

DOC = """
### Master bias, dark and flat of an observing night

Calibration frames wake this DAG up; the observing night (local noon to noon) is its partition key.

When a set is complete - no frame of it for a while - its frames are combined: **bias** first, then **dark** (free
of the bias), then **flat** (free of both), each with its uncertainty and its bad pixels. A new master is compared
with the last good one of its set before it is accepted. A set that grows later gets a new version beside the old.

Which frames form a set, and which master is good, are rules: see `calibration_rules.toml`.

A set that cannot be combined is a failed task, the others go on, and the run is a success: its frames are to blame.
The run fails (**verdict**) if anything else failed for good: then a person must act.

To try a task in a terminal, without a scheduler:

    airflow tasks test toros_masters plan_masters
    airflow tasks test toros_masters bias.combine RUN_ID --map-index 0    # that of an earlier run, once more
    airflow tasks test toros_step run -t '{"step": "combine_bias", "item_id": 17}'    # any master
"""

with DAG(
    "toros_masters",
    description="Combine calibration frames into masters, and compare them with the last good ones",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=CALIBRATION_FRAMES),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args={"owner": "toros"},
    tags=["toros", "calibration"],
):
    complete = CalibrationQuietSensor(
        task_id="wait_for_complete_set", doc_md="Wait until no frame of a set has come for a while."
    )
    plan = PlanMastersOperator(
        task_id="plan_masters",
        doc_md="Which sets are complete and not combined? Their members are fixed here.",
    )
    one_after_the_other = []
    masters = []
    for imagetype, operator, doc in (
        ("Bias", CombineBiasOperator, "Exact median or clipped mean; noisy pixels are flagged."),
        ("Dark", CombineDarkOperator, "The same, minus the bias; hot pixels are flagged."),
        (
            "Flat",
            CombineFlatOperator,
            "The same, minus bias and dark, brought to one; dead pixels are flagged.",
        ),
    ):
        with TaskGroup(imagetype.lower(), tooltip=f"Master {imagetype.lower()} of every set-up"):
            # Whatever failed or was skipped before: masters may be wanted, also since an earlier run. (No rule with
            # "min one success" will do: it skips a task as soon as anything before it was skipped.)
            sets = WantedMastersOperator(
                task_id="sets",
                imagetype=imagetype,
                trigger_rule=TriggerRule.ALL_DONE,
                doc_md="Which sets are to be combined?",
            )
            combine = operator.partial(
                task_id="combine",
                doc_md=doc,
                map_index_template="{{ frame }}",
                pool=load_settings().pixel_pool,
                pool_slots=2,
            ).expand(item_id=sets.output)
        one_after_the_other += [sets, combine]
        masters.append(combine)

    wake_survey = WakeSurveyOperator(
        task_id="wake_survey",
        trigger_dag_id="toros_survey",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Wake up the science frames that wait for masters, if any were made or given up.",
    )
    verdict = VerdictOperator(
        task_id="verdict",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Did anything fail that is not the fault of a frame? Then this run has failed.",
    )

    chain(complete, plan, *one_after_the_other)
    masters >> wake_survey >> verdict
