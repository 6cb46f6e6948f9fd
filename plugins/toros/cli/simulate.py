"""``toros simulate``: write a night of the simulated observatory into a folder."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from toros.errors import BadParameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table as AstropyTable

    from toros.sim import Incident, SimulatedCamera


class Camera(StrEnum):
    """The cameras that can be simulated."""

    AZULCITO = "azulcito"
    STA1600 = "sta1600"


def simulate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the frames go; made if it is not there.")
    ],
    camera: Annotated[Camera, typer.Option(help="TORITOS's or TOROS's camera.")] = Camera.AZULCITO,
    size: Annotated[
        int, typer.Option(min=64, help="Rows and columns (sta1600: 10560 divided by 1, 2, 3 ... 1320).")
    ] = 512,
    night: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Date of the evening; by default of yesterday."),
    ] = None,
    bias: Annotated[int, typer.Option(min=0, help="Number of bias frames.")] = 10,
    darks: Annotated[int, typer.Option(min=0, help="Number of dark frames.")] = 5,
    dark_time: Annotated[float, typer.Option(min=0, help="Their exposure time, s.")] = 120.0,
    flats: Annotated[int, typer.Option(min=0, help="Number of flat frames in each filter.")] = 5,
    fields: Annotated[int, typer.Option(min=0, max=24, help="Number of fields.")] = 2,
    exposures: Annotated[int, typer.Option(min=1, help="Exposures of a field in each filter.")] = 3,
    exptime: Annotated[float, typer.Option(min=0, help="Their exposure time, s.")] = 120.0,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Repeat it for several; by default the first of the camera."),
    ] = None,
    density: Annotated[float, typer.Option(min=0, help="Stars and galaxies per square arcmin.")] = 5.0,
    seeing: Annotated[float, typer.Option(min=0.1, help="Mean FWHM of the stars, arcsec.")] = 1.5,
    incidents: Annotated[
        list[str] | None,
        typer.Option(
            "--incident",
            help="What goes wrong: truncated, not_fits, unknown_type, duplicate, no_date, bad_guiding, "
            "satellite, or all. Repeat it for several.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed: other noise and seeing, the same sky.")] = 1,
    interval: Annotated[float, typer.Option(min=0, help="Seconds from file to file.")] = 0.0,
    pieces: Annotated[int, typer.Option(min=1, help="Write each file in so many pieces.")] = 1,
    profile: Annotated[
        Path | None, typer.Option(help="Write the profile of this camera and size into a folder of profiles.")
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(help="Write the reference catalogue of the night's fields into this FITS file."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Where the truth about the sources goes; by default DIR-truth.")
    ] = None,
) -> None:
    """Simulate a night at an observatory: its frames, and apart from them the truth about every star."""
    from dataclasses import replace

    from toros.sim import (
        Conditions,
        NightPlan,
        feed,
        fields_of_the_night,
        record_truth,
        reference_catalogue,
        simulate_night,
        write_profile,
    )

    evening = night.date() if night else dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    observed = [
        replace(field, exposures=exposures, exptime=exptime, filters=tuple(filters or ()))
        for field in fields_of_the_night(evening, count=fields)
    ]
    plan = NightPlan(
        evening,
        bias=bias,
        darks=((dark_time, darks),),
        flats=flats,
        fields=tuple(observed),
        density=density,
        conditions=Conditions(seeing=seeing),
        incidents=_incidents(incidents or ()),
    )
    simulated = _camera(camera, size)
    if profile:
        write_profile(simulated, profile)
    if catalogue:
        reference_catalogue(plan, simulated).write(catalogue, overwrite=True)
    frames = simulate_night(plan, simulated, seed)
    journal = record_truth(
        feed(frames, folder, interval=interval, pieces=pieces),
        truth or folder.with_name(f"{folder.name}-truth"),
    )
    Console().print(_summary(journal, f"{folder}: the night of {evening}"))


def _camera(name: Camera, size: int) -> SimulatedCamera:
    from toros.sim import azulcito, sta1600

    if name is Camera.AZULCITO:
        return azulcito((size, size))
    if 10560 % size:
        raise BadParameters(
            f"a simulated sta1600 cannot have {size} rows",
            advice="use 264, 352, 528, 880, 1056, 2640 or 10560",
        )
    return sta1600(10560 // size)


def _incidents(names: Sequence[str]) -> tuple[Incident, ...]:
    from toros.sim import Incident

    if "all" in names:
        return tuple(Incident)
    known = {incident.value: incident for incident in Incident}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadParameters(
            f"no incident {', '.join(unknown)}", advice=f"those known are: {', '.join(known)}, all"
        )
    return tuple(known[name] for name in names)


def _summary(journal: AstropyTable, title: str) -> Table:
    """Return one line for each kind of frame, and one for each incident."""
    table = Table("frames", "files", "filter", "exposure, s", "from (UTC)", "to", title=title)
    groups: dict[tuple[str, str, float], list[dict[str, object]]] = {}
    for row in journal:
        what = f"{row['kind']}: {row['incident']}" if row["incident"] else str(row["kind"])
        groups.setdefault((what, str(row["filter"]), float(row["exptime"])), []).append(row)
    for (what, name, exptime), rows in groups.items():
        first, last = (str(row["date_obs"])[11:] for row in (rows[0], rows[-1]))
        table.add_row(what, str(len(rows)), name, f"{exptime:g}", first, last)
    return table
