"""``toros camera``: the profiles that are known, and the cameras that were seen."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.output import AsJson, print_fields, print_json, print_listing
from toros.cli.stream import effective_settings, open_runner
from toros.errors import BadProfile, Misconfigured, StorageUnavailable

if TYPE_CHECKING:
    from toros.config import Settings
    from toros.instruments import Profiles

app = typer.Typer(help="Cameras: list them, look at one, add a profile.", no_args_is_help=True)


@app.command("list")
def list_cameras(as_json: AsJson = False) -> None:
    """List the camera profiles that are known, and the cameras of the database."""
    from toros.cli.views.sites import cameras

    runner = open_runner()
    with runner.database.read() as session:
        rows = cameras(session, known_profiles(runner.settings))
    columns = ("name", "brand", "model", "pixels", "profile", "in_database", "campaigns")
    print_listing(rows, columns, as_json=as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a camera (`toros camera list`).")],
    as_json: AsJson = False,
) -> None:
    """Show a camera: its profile, its row in the database, its campaigns."""
    from toros.cli.views.sites import camera

    runner = open_runner()
    with runner.database.read() as session:
        known = camera(session, known_profiles(runner.settings), name)
    if as_json:
        print_json(known)
        return
    print_fields(known["profile"] or {}, title="Profile")
    print_fields(known["database"] or {}, title="In the database")
    typer.echo(f"campaigns: {', '.join(known['campaigns']) or 'none'}")


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.toml", exists=True, dir_okay=False, help="A camera profile.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a file of that name.")
    ] = False,
) -> None:
    """Check a camera profile, and copy it into the folder of the settings' `profiles_dir`."""
    folder = effective_settings().profiles_dir
    if folder is None:
        raise Misconfigured(
            "[toros] profiles_dir is not set, so there is no place for profiles of your own",
            advice="set TOROS_PROFILES_DIR, or run `toros init`",
        )
    target = folder / "cameras" / file.with_suffix(".toml").name
    if target.exists() and not replace:
        raise typer.BadParameter(f"{target} is there already; --replace puts this one in its place")
    name = _name_in(file)
    _copy(file, target)
    typer.echo(f"camera {name} is known now ({target})")


def known_profiles(settings: Settings) -> Profiles:
    """Read all profiles: those of the settings' folder, and those that are shipped."""
    from toros.instruments import load_profiles

    return load_profiles((settings.profiles_dir,) if settings.profiles_dir else ())


def _name_in(file: Path) -> str:
    """Check a profile, and return the name of its camera."""
    from pydantic import ValidationError

    from toros.instruments import CameraProfile

    try:
        return CameraProfile.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).name
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadProfile(f"{file} is not TOML: {error}", advice="correct the file") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()
        )
        raise BadProfile(f"{file}: {faults}", advice="correct the file") from None


def _copy(file: Path, target: Path) -> None:
    """Copy a profile in one go: whoever reads the folder meanwhile sees the old file or the new one."""
    half_done = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        half_done.write_bytes(file.read_bytes())
        half_done.replace(target)
    except OSError as error:
        raise StorageUnavailable(f"{target}: {error.strerror}") from error
