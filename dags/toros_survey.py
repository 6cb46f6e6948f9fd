"""From the watched folder to what is new on the sky, within seconds of a frame's arrival."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Label, TriggerRule, task_group

from toros.assets import CALIBRATION_FRAMES, MORE_FRAMES, watched_frames
from toros.config import load_settings
from toros.operators.batches import BatchOperator, LoadOperator, ScienceFramesOperator
from toros.operators.steps import (
    CleanOperator,
    DifferenceOperator,
    FindCandidatesOperator,
    MeasureOperator,
    PreprocessOperator,
    RetrySolveOperator,
    ReviewOperator,
    SolveOperator,
)
from toros.operators.verdict import VerdictOperator
from toros.operators.wake import ImageTypeBranchOperator, MoreFramesOperator, WakeMastersOperator
from toros.operators.wake_stacks import WakeStacksOperator

DOC = """
### From the watched folder to what is new on the sky

A file in a watched folder wakes this DAG up, and so does `toros_masters`; every ten minutes it looks by itself.

* **load** registers every new file exactly once, or rejects it with a reason.
* Calibration frames are looked at and wake up `toros_masters` for their observing night.
* Science frames are calibrated, placed on the sky and measured, one mapped task per frame. A frame that waits for its
  masters is *skipped* here and comes back when they are there; one that cannot be processed *fails*, and the others
  go on.
* A measured frame is compared with the reference of its field, and what is new is kept with its probability of being
  real. While the field has no reference the frame waits, and is skipped here; `toros_stack` makes one.
* A new candidate is measured on the earlier frames of its field, too: its past, or how faint it must have been.
* A frame that its pointing does not place on the sky is tried once more in a wider field, and then put on the review
  list: a person says where it points (`toros solve`), and it goes on from there.

Every task is an atomic step: it happens completely or not at all, and is a row in the science database. Any task
may be cleared and run again at any time.

A frame that cannot be processed does not make the run a failure: the frame is to blame, and is in its error state.
The run fails (**verdict**) if anything else failed for good: then a person must act.

To try a task in a terminal, without a scheduler:

    airflow tasks test toros_survey load
    airflow tasks test toros_survey exposure.clean RUN_ID --map-index 0    # that of an earlier run, once more
    airflow tasks test toros_step run -t '{"step": "clean", "item_id": 17}'    # any frame
"""

THE_FRAME = "{{ ti.xcom_pull('science_frames')[ti.map_index] }}"
"""For tasks that ask how those before them ended: `frame` itself would make science_frames one of these."""

with DAG(
    "toros_survey",
    description="Register what the camera wrote, calibrate and measure it, and find what is new",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
        assets=watched_frames() | MORE_FRAMES,
    ),
    catchup=False,
    max_active_runs=2,
    dagrun_timeout=timedelta(hours=6),
    default_args={"owner": "toros"},
    tags=["toros", "science"],
):
    load = LoadOperator(
        task_id="load",
        doc_md="Register every new file of the watched folders exactly once, by content, or say why not.",
    )
    image_type = ImageTypeBranchOperator(
        task_id="image_type",
        calibration="clean_calibration",
        science="science_frames",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="What waits? Calibration frames, science frames, both, or nothing.",
    )
    clean_calibration = BatchOperator(
        task_id="clean_calibration",
        step="clean_calibration",
        doc_md="Measure calibration frames; sort out warm darks and useless flats.",
    )
    wake_masters = WakeMastersOperator(
        task_id="wake_masters",
        asset=CALIBRATION_FRAMES,
        # Also if some frames could not be looked at: the others can be combined.
        trigger_rule=TriggerRule.NONE_SKIPPED,
        doc_md="Wake up `toros_masters`, once for every observing night concerned.",
    )
    science_frames = ScienceFramesOperator(
        task_id="science_frames", doc_md="Which science frames can be worked on now?"
    )

    @task_group(group_id="exposure")
    def exposure(frame: int) -> None:
        """Take one science frame from raw to measured."""
        clean = CleanOperator(
            task_id="clean",
            item_id=frame,
            map_index_template="{{ frame }}",
            doc_md="Measure the raw frame: level, noise, saturation.",
        )
        preprocess = PreprocessOperator(
            task_id="preprocess",
            item_id=clean.output,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            doc_md="Overscan, bias, dark, flat, gain, mask. Skipped while the frame waits for its masters.",
        )
        solve = SolveOperator(
            task_id="solve",
            item_id=THE_FRAME,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            doc_md="Where does the frame point? Its stars are matched with those of the catalogue.",
        )
        retry_solve = RetrySolveOperator(
            task_id="retry_solve",
            item_id=THE_FRAME,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            trigger_rule=TriggerRule.ALL_FAILED,
            doc_md="Once more, in a wider field and at any scale.",
        )
        review = ReviewOperator(
            task_id="review",
            item_id=THE_FRAME,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            trigger_rule=TriggerRule.ALL_FAILED,
            doc_md="A person is asked where the frame points: it is put on the review list, with the reason.",
        )
        measure = MeasureOperator(
            task_id="measure",
            item_id=THE_FRAME,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            trigger_rule=TriggerRule.ONE_SUCCESS,
            doc_md="Positions, magnitudes, zero point and quality of everything in the frame.",
        )
        difference = DifferenceOperator(
            task_id="difference",
            item_id=THE_FRAME,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            doc_md="What has changed since the reference of the field? Skipped while the field has none.",
        )
        candidates = FindCandidatesOperator(
            task_id="candidates",
            item_id=THE_FRAME,
            map_index_template="{{ frame }}",
            pool=load_settings().pixel_pool,
            doc_md="What stands out of the difference, how probably it is real, and which object it is.",
        )
        clean >> preprocess >> solve
        solve >> Label("not found") >> retry_solve >> Label("not found") >> review
        [solve, retry_solve] >> measure >> Label("reference exists") >> difference >> candidates

    trace_candidates = BatchOperator(
        task_id="trace_candidates",
        step="trace_candidate",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="How bright was each new candidate on the frames that were taken before it was found?",
    )
    more_frames = MoreFramesOperator(
        task_id="more_frames",
        taken=science_frames.output,
        asset=MORE_FRAMES,
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Wake this DAG up once more if frames were left over.",
    )
    wake_stacks = WakeStacksOperator(
        task_id="wake_stacks",
        trigger_dag_id="toros_stack",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Wake up `toros_stack`, once for every field with frames that are in no stack yet.",
    )
    verdict = VerdictOperator(
        task_id="verdict",
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Did anything fail that is not the fault of a frame? Then this run has failed.",
    )

    load >> image_type
    image_type >> Label("bias, dark, flat") >> clean_calibration >> wake_masters
    (
        image_type
        >> Label("science")
        >> science_frames
        >> exposure.expand(frame=science_frames.output)
        >> [trace_candidates, more_frames, wake_stacks]
    )
    [wake_masters, trace_candidates, more_frames, wake_stacks] >> verdict
