"""One step on one item, by hand."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from toros.config import load_settings
from toros.operators.step import StepOperator

DOC = """
### One step on one item, by hand

Trigger it, and say which **step** is to be run on which **item**; the pages under TOROS show the numbers of the items,
and `toros steps` lists the steps. What is run here is what the other DAGs run: the item must be in the state that the
step takes, everything happens completely or not at all, and it is a row in the science database.

The same in a terminal, without a scheduler:

    airflow tasks test toros_step run -t '{"step": "preprocess", "item_id": 17}'
    airflow tasks test toros_step run -t '{"step": "plan_masters"}'
    airflow tasks test toros_step run -t '{"step": "preprocess", "item_id": 17, "parameters": {"cosmic_rays": false}}'

A frame of the review list (`toros review`) is solved with the hint of a person by step `solve_by_hand`, with parameters
such as `{"ra": 286.04, "dec": 36.63, "radius": 0.5}`.

And without Airflow: `toros run preprocess 17`, `toros solve 17 --ra 286.04 --dec 36.63`.
"""

with DAG(
    "toros_step",
    description="Run one step on one item by hand",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    render_template_as_native_obj=True,
    params={
        "step": Param(
            "preprocess",
            type="string",
            title="Step",
            description="Name of the step.",
            examples=[
                "discover",
                "load",
                "clean_calibration",
                "plan_masters",
                "combine_bias",
                "combine_dark",
                "combine_flat",
                "clean",
                "preprocess",
                "solve",
                "retry_solve",
                "review",
                "solve_by_hand",
                "measure",
                "difference",
                "find_candidates",
                "trace_candidate",
                "plan_stacks",
                "stack",
                "choose_reference",
            ],
        ),
        "item_id": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Item",
            description="Number of the item. Empty for a step that looks for its work itself.",
        ),
        "parameters": Param(
            {},
            type="object",
            title="Parameters",
            description="Parameters of the step that are not the usual ones.",
        ),
    },
    default_args={"owner": "toros"},
    tags=["toros"],
):
    StepOperator(
        task_id="run",
        step="{{ params.step }}",
        item_id="{{ params.item_id }}",
        parameters="{{ params.parameters }}",
        pool=load_settings().pixel_pool,
        pool_slots=2,  # whatever it is: combining takes most
        doc_md="The step.",
    )
