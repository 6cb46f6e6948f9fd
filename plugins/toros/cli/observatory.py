"""``toros observatory`` and ``toros campaign``: the sites, and the cameras at work there."""

from __future__ import annotations

from typing import Annotated

import typer

from toros.cli.output import AsJson, print_listing
from toros.cli.stream import open_runner
from toros.errors import BadParameters

app = typer.Typer(help="Observatories: list them, add one.", no_args_is_help=True)
campaigns_app = typer.Typer(
    help="Campaigns (a camera at work at an observatory): list them, add one.", no_args_is_help=True
)

Description = Annotated[str | None, typer.Option(help="In words.")]


@app.command("list")
def list_observatories(as_json: AsJson = False) -> None:
    """List the observatories."""
    from toros.cli.views.sites import observatories

    with open_runner().database.read() as session:
        rows = observatories(session)
    columns = ("name", "latitude", "longitude", "elevation", "timezone", "description")
    print_listing(rows, columns, as_json=as_json)


@app.command("add")
def add_observatory(
    name: Annotated[str, typer.Argument(help="Its name, as in [toros] observatory.")],
    latitude: Annotated[float, typer.Option(min=-90, max=90, help="Degrees, north positive.")],
    longitude: Annotated[float, typer.Option(min=-180, max=360, help="Degrees, east positive.")],
    elevation: Annotated[float | None, typer.Option(help="Metres above sea level.")] = None,
    timezone: Annotated[str, typer.Option(help="For example America/Argentina/Salta.")] = "UTC",
    description: Description = None,
) -> None:
    """Add an observatory."""
    from toros.cli.enrol import refuse_known
    from toros.models import Observatory

    _check_timezone(timezone)
    with open_runner().database.write() as session:
        refuse_known(session, Observatory, name)
        session.add(
            Observatory(
                name=name,
                latitude=latitude,
                longitude=longitude,
                elevation=elevation,
                timezone=timezone,
                description=description,
            )
        )
    typer.echo(f"observatory {name} is known now")


@campaigns_app.command("list")
def list_campaigns(as_json: AsJson = False) -> None:
    """List the campaigns."""
    from toros.cli.views.sites import campaigns

    with open_runner().database.read() as session:
        rows = campaigns(session)
    print_listing(rows, ("name", "observatory", "camera", "description"), as_json=as_json)


@campaigns_app.command("add")
def add_campaign(
    name: Annotated[str, typer.Argument(help="Its name.")],
    observatory: Annotated[str, typer.Option(help="Name of the observatory.")],
    camera: Annotated[str, typer.Option(help="Name of the camera (`toros camera list`).")],
    description: Description = None,
) -> None:
    """Add a campaign: from now on, new frames of this camera belong to it."""
    from sqlalchemy import select

    from toros.cli.camera import known_profiles
    from toros.cli.enrol import ccd_of, refuse_known
    from toros.models import Campaign, Observatory

    runner = open_runner()
    profiles = known_profiles(runner.settings)
    with runner.database.write() as session:
        refuse_known(session, Campaign, name)
        site = session.scalar(select(Observatory).where(Observatory.name == observatory))
        if site is None:
            raise BadParameters(
                f"no observatory is called {observatory!r}", advice="`toros observatory list` names them"
            )
        ccd = ccd_of(session, profiles, camera)
        session.add(Campaign(name=name, observatory=site, ccd=ccd, description=description))
    typer.echo(f"new frames of {camera} belong to {name} at {observatory} now")


def _check_timezone(name: str) -> None:
    from zoneinfo import available_timezones

    if name not in available_timezones():
        raise typer.BadParameter(f"{name!r} is no time zone", param_hint="--timezone")
