"""``toros catalogue``: reference stars on this machine, for where there is no Internet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.output import AsJson, print_fields, print_json, print_listing
from toros.cli.stream import effective_settings
from toros.errors import BadParameters

if TYPE_CHECKING:
    from toros.catalogues import CatalogueDescription

app = typer.Typer(
    help="Reference catalogues: load one from a file, list them, remove one, look at stars.",
    no_args_is_help=True,
)

NEGATIVE_DECLINATIONS = {"ignore_unknown_options": True}
"""So that -31.6 is taken for a number, not for an option."""


@app.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="FITS, VOTable, CSV, TSV, ECSV or Parquet; may be packed."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the catalogue; by default that of the file.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="OURS=THEIRS",
            help="A column that is not recognised: ra, dec, pmra, pmdec, ref_epoch, source_id, or V_err "
            "for the error of the band V; for example ra=RAJ2000. Repeat it for several.",
        ),
    ] = None,
    bands: Annotated[
        list[str] | None,
        typer.Option(
            "--band",
            metavar="BAND=COLUMN",
            help="A band and its column, for example V=Vmag; if given, only those are taken. Repeat it for several.",
        ),
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Option(
            "--unit",
            metavar="OURS=UNIT",
            help="Unit of ra, dec, pmra or pmdec, for example ra=hourangle. By default what the file says, "
            "else degrees and mas/yr.",
        ),
    ] = None,
    epoch: Annotated[
        float | None,
        typer.Option(min=1850, max=2150, help="Julian year of the positions, for example 2016.0."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a catalogue of stars from a file, such as a part of Gaia, Tycho-2, APASS or 2MASS.

    Columns of known catalogues are recognised by their names. A name that is loaded already gets a new version.
    """
    import datetime as dt

    from toros.catalogues.loading import add_catalogue

    catalogue = add_catalogue(
        file,
        effective_settings().catalogues,
        name,
        columns=_pairs(columns, "--column"),
        bands=_pairs(bands, "--band"),
        units=_pairs(units, "--unit"),
        epoch=epoch,
        now=dt.datetime.now(dt.UTC),
    )
    if as_json:
        print_json(catalogue.description.model_dump())
        return
    print_fields(_row(catalogue.description), title=f"{catalogue.name} is loaded")
    if catalogue.description.epoch_assumed:
        typer.echo(
            f"the epoch {catalogue.description.epoch} was assumed: if it is another, say --epoch", err=True
        )


@app.command("list")
def list_catalogues(as_json: AsJson = False) -> None:
    """List the catalogues that are loaded."""
    from toros.catalogues import open_catalogues

    descriptions = [catalogue.description for catalogue in open_catalogues(effective_settings().catalogues)]
    if as_json:
        print_json([description.model_dump() for description in descriptions])
        return
    columns = ("name", "version", "stars", "bands", "epoch", "covers", "added_at", "file")
    print_listing(
        [_row(d) for d in descriptions], columns, as_json=False, empty="none: toros catalogue add FILE"
    )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of a catalogue (`toros catalogue list`).")],
) -> None:
    """Remove a catalogue, all its versions."""
    from toros.catalogues.loading import remove_catalogue

    remove_catalogue(effective_settings().catalogues, name)
    typer.echo(f"{name} is removed")


@app.command()
def index(
    name: Annotated[str, typer.Argument(help="Name of a catalogue (`toros catalogue list`).")],
    field: Annotated[
        float, typer.Option(min=0.01, max=180, help="Degrees along the shorter side of a frame.")
    ],
) -> None:
    """Index a catalogue for astrometry.net, which then places frames that no hint has placed.

    It must be installed (Debian: apt-get install astrometry.net).
    """
    import shutil

    from toros.catalogues import open_catalogue
    from toros.catalogues.astrometry_net import build_index
    from toros.steps.blind import INDEXES

    folder = effective_settings().catalogues
    catalogue = open_catalogue(folder, name)
    middle = catalogue.description.coverage
    stars = catalogue.cone(middle.ra, middle.dec, middle.radius)
    target = folder / INDEXES / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    made = build_index(stars, target, field)
    typer.echo(f"{name}: {len(made)} indexes for frames of {field:g} degrees")


@app.command(context_settings=NEGATIVE_DECLINATIONS)
def cone(
    ra: Annotated[str, typer.Argument(help="Right ascension: degrees, or hours as 20:50:02.")],
    dec: Annotated[str, typer.Argument(help="Declination: degrees, also as -31:35:56.")],
    radius: Annotated[float, typer.Argument(min=0, max=180, help="Degrees.")],
    catalogue: Annotated[
        str | None, typer.Option(help="Name of a catalogue; by default the one with most stars there.")
    ] = None,
    epoch: Annotated[
        float | None,
        typer.Option(min=1850, max=2150, help="Julian year of the positions; by default the catalogue's."),
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="The magnitude that counts; by default the main band.")
    ] = None,
    faintest: Annotated[float | None, typer.Option(help="Only stars as bright as this.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Only so many, the brightest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the reference stars around a position, the brightest first."""
    from toros.catalogues import reference_stars

    folder = effective_settings().catalogues
    stars = reference_stars(
        folder,
        *position(ra, dec),
        radius,
        epoch,
        catalogue=catalogue,
        band=band,
        faintest=faintest,
        limit=limit,
    )
    columns = [stars[name].tolist() for name in stars.colnames]
    rows = [dict(zip(stars.colnames, row, strict=True)) for row in zip(*columns, strict=True)]
    title = f"{stars.meta['catalogue']}, magnitudes in {stars.meta['band']}, epoch {stars.meta['epoch']:.2f}"
    print_listing(rows, stars.colnames, as_json=as_json, title="" if as_json else title)


def position(ra: str, dec: str) -> tuple[float, float]:
    """Read a position: degrees, or sexagesimal hours and degrees.

    Raises
    ------
    BadParameters
        It is none.
    """
    from astropy import units as u
    from astropy.coordinates import Angle

    try:
        east = Angle(ra, unit=u.deg if _is_number(ra) else u.hourangle)
        north = Angle(dec, unit=u.deg)
    except ValueError as error:
        raise BadParameters(f"{ra} {dec} is no position: {error}") from None
    if not (-90 <= north.deg <= 90 and -360 <= east.deg <= 360):
        raise BadParameters(f"{ra} {dec} is no position on the sky")
    return float(east.deg) % 360.0, float(north.deg)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _pairs(words: Sequence[str] | None, option: str) -> dict[str, str]:
    found = {}
    for word in words or ():
        ours, mark, theirs = word.partition("=")
        if not (mark and ours.strip() and theirs.strip()):
            raise typer.BadParameter(f"{word!r} is not of the form A=B", param_hint=option)
        found[ours.strip()] = theirs.strip()
    return found


def _row(description: CatalogueDescription) -> dict[str, object]:
    coverage, origin = description.coverage, description.origin
    place = f" around {coverage.ra:.2f} {coverage.dec:+.2f}" if coverage.radius < 90 else ""
    left_out = {
        "without a position": origin.without_position,
        "unreadable": origin.unreadable,
    }
    return {
        "name": description.name,
        "version": description.version,
        "stars": description.stars,
        "bands": " ".join(description.bands),
        "main_band": description.main_band,
        "epoch": f"{description.epoch:.2f}{' (assumed)' if description.epoch_assumed else ''}",
        "proper_motions": description.fastest > 0,
        "covers": f"{coverage.area:.4g} deg2{place}",
        "columns": ", ".join(f"{ours}={theirs}" for ours, theirs in origin.columns.items()),
        "left_out": ", ".join(f"{count} {why}" for why, count in left_out.items() if count) or None,
        "without_magnitude": origin.without_magnitude or None,
        "added_at": description.added_at,
        "file": origin.file,
    }
