"""One operator for each step, with its colour in the graph: blue comes in, violet calibrates, green is science."""

from __future__ import annotations

from toros.operators.step import StepOperator


class CleanOperator(StepOperator):
    """Look at the pixels of a science frame before anything is done with it (``raw_data`` to ``cleaned_data``)."""

    step = "clean"
    ui_color = "#d6ecd2"


class PreprocessOperator(StepOperator):
    """Calibrate a science frame: overscan, bias, dark, flat, gain, mask (to ``preprocessed_data``)."""

    step = "preprocess"
    ui_color = "#b8dfb2"


class SolveOperator(StepOperator):
    """Match the stars of a calibrated frame with the catalogue: its plate solution (to ``wcs_solved``)."""

    step = "solve"
    ui_color = "#9ad293"


class RetrySolveOperator(StepOperator):
    """Solve a frame that could not be solved, in a wider field and at any scale."""

    step = "retry_solve"
    ui_color = "#f3e3a5"


class ReviewOperator(StepOperator):
    """Put a frame that cannot be solved on the review list, with the reason and a picture (to ``wcs_review``)."""

    step = "review"
    ui_color = "#f2d0a0"


class MeasureOperator(StepOperator):
    """Measure the sources of a solved frame, its zero point and its quality (to ``measured``)."""

    step = "measure"
    ui_color = "#7cc576"


class DifferenceOperator(StepOperator):
    """Subtract the reference of its field from a measured frame (to ``differenced``)."""

    step = "difference"
    ui_color = "#8fc7c2"


class FindCandidatesOperator(StepOperator):
    """Find what is new in a difference image, and score it (to ``searched``)."""

    step = "find_candidates"
    ui_color = "#6fb5b0"


class PlanStacksOperator(StepOperator):
    """Ask for a stack of every field that is quiet and has measured frames in no stack yet."""

    step = "plan_stacks"
    ui_color = "#f7e1d3"


class StackOperator(StepOperator):
    """Combine the frames of a field into a stack, aligned on the sky, without what is in one of them only."""

    step = "stack"
    ui_color = "#f1cbb3"


class ChooseReferenceOperator(StepOperator):
    """Make a stack the reference of its field, if it is the first or a better one."""

    step = "choose_reference"
    ui_color = "#e9b391"


class PlanMastersOperator(StepOperator):
    """Ask for a master frame of every calibration set that is complete and not combined yet."""

    step = "plan_masters"
    ui_color = "#e8dff3"


class CombineBiasOperator(StepOperator):
    """Combine bias frames into a master, and compare it with the last good one."""

    step = "combine_bias"
    ui_color = "#dccbee"


class CombineDarkOperator(StepOperator):
    """Combine dark frames into a master with its hot pixels, and compare it with the last good one."""

    step = "combine_dark"
    ui_color = "#cdb6e6"


class CombineFlatOperator(StepOperator):
    """Combine flat frames into a master with its dead pixels, and compare it with the last good one."""

    step = "combine_flat"
    ui_color = "#bfa2de"
