"""``toros realbogus``: the model that tells real candidates from bogus ones."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.output import AsJson, print_fields, print_json
from toros.cli.stream import effective_settings
from toros.errors import BadParameters, StorageUnavailable

if TYPE_CHECKING:
    from toros.science.real_bogus import Model

app = typer.Typer(
    help="The model that tells real candidates from bogus ones: look at it, train one.", no_args_is_help=True
)


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show the model in force: what it was trained on, and how well it does."""
    from toros.steps.real_bogus_model import read_real_bogus_model

    path = effective_settings().real_bogus_model
    _print(read_real_bogus_model(path), path, as_json=as_json)


@app.command()
def train(
    file: Annotated[Path, typer.Argument(metavar="FILE.npz", dir_okay=False, help="Where the model goes.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed and scenes make the same model.")] = 2026,
    scenes: Annotated[
        int, typer.Option(min=4, help="Simulated differences to learn from; each takes about a second.")
    ] = 300,
    as_json: AsJson = False,
) -> None:
    """Train a model on simulated differences; name its file in the setting `real_bogus_model` to use it."""
    from toros.science.real_bogus import dump_model

    try:
        with file.open("xb") as new:  # before minutes are spent
            model = _trained(file.stem, seed, scenes)
            new.write(dump_model(model))
    except FileExistsError:
        raise BadParameters(
            f"{file} is there already", advice="give another name: scores name their model"
        ) from None
    except OSError as error:
        raise StorageUnavailable(f"{file}: {error.strerror}") from error
    _print(model, file, as_json=as_json)


def _trained(version: str, seed: int, scenes: int) -> Model:
    from toros.science import real_bogus
    from toros.sim.difference_scenes import simulated_training_set

    today = dt.datetime.now(dt.UTC).date().isoformat()
    features, labels = simulated_training_set(seed, scenes)
    return real_bogus.train(features, labels, version=version, trained_on=today, seed=seed)


def _print(model: Model, path: Path | None, *, as_json: bool) -> None:
    told = model.evaluation
    fields = {
        "version": model.version,
        "file": str(path) if path else "shipped with the package",
        "trained_on": model.trained_on,
        "seed": model.seed,
        "real": model.n_real,
        "bogus": model.n_bogus,
        "held_out_real": told.n_real,
        "held_out_bogus": told.n_bogus,
        "auc": told.auc,
        "missed_at_1_percent_false": told.missed,
        "calibration_error": told.calibration_error,
        "threshold": model.threshold,
    }
    if as_json:
        print_json(fields)
    else:
        print_fields(fields, title="Real/bogus model")
