"""``toros lightcurve``: the magnitudes of one star in all frames that show it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.catalogue import position
from toros.cli.output import AsJson, print_json, print_rows
from toros.cli.stream import open_runner

if TYPE_CHECKING:
    from toros.steps.light_curves import ObservedLightCurve


def lightcurve(
    ra: Annotated[str, typer.Option(help="Right ascension: degrees, or hours as 19:04:09.8.")],
    dec: Annotated[str, typer.Option(help="Declination: degrees, also as -31:35:56.")],
    radius: Annotated[
        float | None,
        typer.Option(min=0.01, help="Arcsec by which it may be off; by default half the width of a star."),
    ] = None,
    filter_name: Annotated[
        str | None, typer.Option("--filter", help="Only this filter; `none` for frames without one.")
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="Only frames of this object, as the header names it.")
    ] = None,
    aperture: Annotated[
        bool, typer.Option("--aperture", help="Take aperture fluxes, not those of the PSF fit.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw it into this file.")] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write the points into this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the light curve of a star: differential photometry against an ensemble of the steady stars around it.

    Times are Julian dates (UTC) of the middle of the exposures. An offset is what the ensemble took out of a frame.
    """
    from toros.steps.light_curves import light_curve_of
    from toros.store.store import translated_os_errors

    where = position(ra, dec)
    with open_runner().database.read() as session:
        found = light_curve_of(
            session, *where, radius=radius, filter_name=filter_name, field=field, aperture=aperture
        )
    for file, content in ((csv, _csv), (plot, _picture)):
        if file is not None:
            with translated_os_errors(file):
                file.write_bytes(content(found))
    rows = _rows(found)
    if as_json:
        print_json({**_summary(found), "points": rows})
        return
    columns = ("jd", "mag", "mag_err", "offset", "n_comparison", "flagged", "pawprint", "name")
    print_rows([_rounded(row) for row in rows], columns, title=_title(found))


def _rows(found: ObservedLightCurve) -> list[dict[str, object]]:
    names = found.table.colnames
    columns = [found.table[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _rounded(row: dict[str, object]) -> dict[str, object]:
    digits = {"jd": 6, "mag": 4, "mag_err": 4, "offset": 4}
    return row | {name: f"{row[name]:.{number}f}" for name, number in digits.items()}


def _summary(found: ObservedLightCurve) -> dict[str, object]:
    curve = found.curve
    return {
        "ra": curve.ra,
        "dec": curve.dec,
        "filter": found.filter,
        "magnitude": curve.magnitude,
        "is_calibrated": found.is_calibrated,
        "scatter": curve.scatter,
        "frames": len(curve.points),
        "comparison_stars": len(curve.comparison),
        "radius": found.radius,
    }


def _title(found: ObservedLightCurve) -> str:
    curve = found.curve
    kind = "" if found.is_calibrated else "instrumental "
    return (
        f"{curve.ra:.5f} {curve.dec:+.5f}, {found.filter or 'no filter'}: {kind}magnitude {curve.magnitude:.3f}, "
        f"scatter {curve.scatter:.4f} in {len(curve.points)} frames, {len(curve.comparison)} comparison stars"
    )


def _csv(found: ObservedLightCurve) -> bytes:
    text = io.StringIO()
    found.table.write(text, format="ascii.csv")
    return text.getvalue().encode()


def _picture(found: ObservedLightCurve) -> bytes:
    from toros.science.light_curve_plot import draw_light_curve

    name = "magnitude" if found.is_calibrated else "instrumental magnitude"
    return draw_light_curve(found.table, title=_title(found).replace(": ", "\n", 1), magnitude_name=name)
