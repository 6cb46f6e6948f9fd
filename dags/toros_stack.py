"""Stacks of every field, and the references that new frames are compared with."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, TaskGroup, TriggerRule, task_group

from toros.config import load_settings
from toros.operators.batches import BatchOperator, WaitingForReferenceOperator, WaitingItemsOperator
from toros.operators.steps import (
    ChooseReferenceOperator,
    DifferenceOperator,
    FindCandidatesOperator,
    PlanStacksOperator,
    StackOperator,
)
from toros.operators.verdict import VerdictOperator
from toros.sensors.stacks import FieldQuietSensor

DOC = """
### Stacks of every field, and the references that new frames are compared with

`toros_survey` wakes this DAG up when a field has measured frames that are in no stack, once for every set; every
hour it looks by itself. When no frame of the field was measured for a while, its frames of the night are aligned on
the sky and combined, and those of all nights into a deep stack. Satellites, asteroids and cosmic rays, which are in
one frame only, are left out. A frame that comes late joins by a new version of the stack beside the old.

A stack becomes the **reference** of its field if it is the first, or shows fainter stars than the present one. Frames
that waited for a reference are then compared with it here; those that come later, by `toros_survey`. Old differences
stay valid.

How frames are grouped, which of them are good enough, and what makes a better reference are rules: see
`survey_rules.toml`.

To try a task in a terminal, without a scheduler:

    airflow tasks test toros_stack plan_stacks
    airflow tasks test toros_step run -t '{"step": "stack", "item_id": 17}'    # any stack
"""

with DAG(
    "toros_stack",
    description="Combine the frames of a field, and choose the reference of it",
    doc_md=DOC,
    schedule=CronTriggerTimetable("5 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=2,
    dagrun_timeout=timedelta(hours=6),
    default_args={"owner": "toros"},
    tags=["toros", "science"],
):
    quiet = FieldQuietSensor(
        task_id="wait_for_quiet_field",
        set_key="{{ (dag_run.conf or {}).get('set', '') }}",
        doc_md="Wait until no frame of the field has come for a while.",
    )
    plan = PlanStacksOperator(
        task_id="plan_stacks",
        doc_md="Which fields are quiet and have frames in no stack? The members are fixed here.",
    )
    with TaskGroup("stacks", tooltip="One stack of every set of frames"):
        wanted = WaitingItemsOperator(
            task_id="wanted",
            step="stack",
            trigger_rule=TriggerRule.ALL_DONE,
            doc_md="Which stacks are to be made?",
        )
        stack = StackOperator.partial(
            task_id="stack",
            doc_md="Align the frames on the sky, leave out what is in one of them only, and combine.",
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            pool_slots=2,
        ).expand(item_id=wanted.output)
    with TaskGroup("references", tooltip="The image of a field that new frames are compared with"):
        new = WaitingItemsOperator(
            task_id="new_stacks",
            step="choose_reference",
            trigger_rule=TriggerRule.ALL_DONE,
            doc_md="Which stacks have not been looked at?",
        )
        choose = ChooseReferenceOperator.partial(
            task_id="choose",
            doc_md="Is it the first stack of its field, or better than the present reference?",
            map_index_template="{{ frame }}",
        ).expand(item_id=new.output)
    waiting = WaitingForReferenceOperator(
        task_id="waiting_frames",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Which measured frames have a reference now?",
    )

    @task_group(group_id="exposure")
    def exposure(frame: int) -> None:
        """Compare a frame that has waited with the reference of its field."""
        difference = DifferenceOperator(
            task_id="difference",
            item_id=frame,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            doc_md="What has changed since the reference of the field?",
        )
        candidates = FindCandidatesOperator(
            task_id="candidates",
            item_id=difference.output,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            doc_md="What stands out of the difference, how probably it is real, and which object it is.",
        )
        difference >> candidates

    trace_candidates = BatchOperator(
        task_id="trace_candidates",
        step="trace_candidate",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="How bright was each new candidate on the frames taken before it was found?",
    )
    verdict = VerdictOperator(
        task_id="verdict",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Did anything fail that is not the fault of a frame? Then this run has failed.",
    )
    quiet >> plan >> wanted >> stack >> new >> choose >> waiting
    waiting >> exposure.expand(frame=waiting.output) >> trace_candidates >> verdict
