"""Which columns of a file are what: known catalogues are recognised by the names of their columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from toros.errors import BadCatalogue, BadParameters

GAIA_DR3_EPOCH = 2016.0

_POSITIONS: tuple[tuple[str, str], ...] = (
    ("ra", "dec"),
    ("ra_icrs", "de_icrs"),
    ("ramdeg", "demdeg"),
    ("ra_deg", "dec_deg"),
    ("radeg", "decdeg"),
    ("ramean", "decmean"),
    ("ra", "decl"),
    ("ra", "de"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("ra_j2000", "dec_j2000"),
    ("alpha_j2000", "delta_j2000"),
    ("_raj2000", "_dej2000"),
    ("_ra_icrs", "_de_icrs"),
    ("radeg", "dedeg"),
    ("right_ascension", "declination"),
)
"""Pairs of names (normalised); the first that is there is taken: measured positions before computed ones."""

_OTHERS: dict[str, tuple[str, ...]] = {
    "pmra": ("pmra", "pm_ra", "pmra_cosdec", "pmracosdec"),
    "pmdec": ("pmdec", "pmde", "pm_dec", "pm_de"),
    "ref_epoch": ("ref_epoch", "epoch"),
    "source_id": ("source_id", "source", "2mass", "_2mass", "designation", "tyc", "objid", "id", "name"),
}

_TAKEN = ("ra", "dec", "mag", "healpix", *_OTHERS)

_BAND = re.compile(r"(?:mag_?)?(BP|RP|BT|VT|[GUBVRIJHKugrizy])(?:'|c|s)?_?(?:mag)?")
"""Names as VizieR and many files write them. Case matters: Gmag is Gaia's, gmag is Sloan's."""

_BAND_NAMES: dict[str, str] = {
    "phot_g_mean_mag": "G",
    "phot_bp_mean_mag": "BP",
    "phot_rp_mean_mag": "RP",
    "bt_mag": "BT",
    "vt_mag": "VT",
    "johnson_u": "U",
    "johnson_b": "B",
    "johnson_v": "V",
    "cousins_r": "R",
    "cousins_i": "I",
    "sloan_u": "u",
    "sloan_g": "g",
    "sloan_r": "r",
    "sloan_i": "i",
    "sloan_z": "z",
    "gmeanpsfmag": "g",
    "rmeanpsfmag": "r",
    "imeanpsfmag": "i",
    "zmeanpsfmag": "z",
    "ymeanpsfmag": "y",
    "j_m": "J",
    "h_m": "H",
    "k_m": "K",
}
"""Original names (normalised) of Gaia, Tycho-2, APASS, Pan-STARRS and 2MASS."""

_MAIN_BANDS = (
    "G",
    "V",
    "r",
    "VT",
    "R",
    "g",
    "B",
    "BT",
    "RP",
    "BP",
    "i",
    "I",
    "z",
    "y",
    "u",
    "U",
    "J",
    "H",
    "K",
)
"""The first of these that a catalogue has is its main band: near to what an unfiltered chip sees, and deep."""

_ERRORS = ("e_{0}", "{0}_error", "{0}_err", "{0}err", "err_{0}", "e{0}", "sigma_{0}", "{0}_unc")
_FLUX_OVER_ERROR = "phot_{0}_mean_flux_over_error"
_ERROR_SUFFIX = "_err"


@dataclass(frozen=True)
class ColumnMap:
    """The columns of a file by our names for them."""

    names: Mapping[str, str]
    """ra, dec and, where there are such, pmra, pmdec, ref_epoch, source_id."""
    bands: Mapping[str, str]
    errors: Mapping[str, str] = field(default_factory=dict)
    epoch: float = 2000.0
    """Of positions whose epoch no column tells."""
    epoch_assumed: bool = True

    @property
    def used(self) -> tuple[str, ...]:
        """The columns of the file that are of use."""
        return tuple(dict.fromkeys((*self.names.values(), *self.bands.values(), *self.errors.values())))

    @property
    def by_our_names(self) -> dict[str, str]:
        """All columns of the file by our names, bands and their errors among them."""
        errors = {band + _ERROR_SUFFIX: name for band, name in self.errors.items()}
        return {**self.names, **self.bands, **errors}

    @property
    def main_band(self) -> str:
        """The band that `mag` stands for where nobody asks for another."""
        return next((band for band in _MAIN_BANDS if band in self.bands), next(iter(self.bands)))


def map_columns(
    available: Iterable[str],
    *,
    columns: Mapping[str, str] | None = None,
    bands: Mapping[str, str] | None = None,
    epoch: float | None = None,
) -> ColumnMap:
    """Recognise the columns of a file.

    Parameters
    ----------
    available : iterable of str
        Columns of the file.
    columns : mapping
        What a person says: ra, dec, pmra, pmdec, ref_epoch, source_id, or a band with ``_err`` after it, and
        the column that holds it.
    bands : mapping
        Bands and their columns; if given, there are no others.
    epoch : float, optional
        Julian year of the positions.

    Raises
    ------
    BadCatalogue
        There are no positions or no magnitudes, or no column of a name that was given.
    BadParameters
        A name on our side is unknown.
    """
    file = _Names(available)
    names, errors = _split(columns or {}, file)
    if not {"ra", "dec"} <= names.keys():
        names = {**dict(zip(("ra", "dec"), _positions(file), strict=True)), **names}
    for ours, known in _OTHERS.items():
        found = next(file.matching(known), None)
        if found is not None:
            names.setdefault(ours, found)
    if not {"pmra", "pmdec"} <= names.keys():
        names = {ours: theirs for ours, theirs in names.items() if ours not in ("pmra", "pmdec")}
    if epoch is not None:
        names.pop("ref_epoch", None)
    mapped = _given_bands(bands, file) if bands else dict(_bands(file))
    if not mapped:
        raise BadCatalogue(
            f"no column of magnitudes is known among {file}", advice="name them: --band V=... --band B=..."
        )
    return ColumnMap(
        names=names,
        bands=mapped,
        errors={**_error_columns(mapped, file), **errors},
        epoch=_usual_epoch(names, mapped) if epoch is None else epoch,
        epoch_assumed=epoch is None and "ref_epoch" not in names,
    )


class _Names:
    """The columns of a file, found by their exact or by their normalised names."""

    def __init__(self, available: Iterable[str]) -> None:
        self.exact = tuple(available)
        self.normalised = {_normalised(name): name for name in reversed(self.exact)}

    def matching(self, normalised: Iterable[str]) -> Iterator[str]:
        return (self.normalised[name] for name in normalised if name in self.normalised)

    def named(self, name: str) -> str:
        """Return the column of that name, as a person wrote it."""
        if name in self.exact:
            return name
        found = self.normalised.get(_normalised(name))
        if found is None:
            raise BadCatalogue(f"the file has no column {name!r}", advice=f"it has: {self}")
        return found

    def __str__(self) -> str:
        return ", ".join(self.exact) or "no columns at all"


def _normalised(name: str) -> str:
    without_remark = re.sub(r"\(.*?\)", "", name).strip() or name
    return re.sub(r"[^a-z0-9]", "_", without_remark.lower())


def _split(columns: Mapping[str, str], file: _Names) -> tuple[dict[str, str], dict[str, str]]:
    """Take apart what a person says of columns, and what of the errors of bands."""
    names: dict[str, str] = {}
    errors: dict[str, str] = {}
    for ours, theirs in columns.items():
        if ours in ("ra", "dec", *_OTHERS):
            names[ours] = file.named(theirs)
        elif ours.endswith(_ERROR_SUFFIX):
            errors[ours.removesuffix(_ERROR_SUFFIX)] = file.named(theirs)
        else:
            raise BadParameters(
                f"a catalogue has no column {ours!r}",
                advice=f"it has: ra, dec, {', '.join(_OTHERS)}, and the errors of its bands, such as V_err",
            )
    return names, errors


def _positions(file: _Names) -> tuple[str, str]:
    for pair in _POSITIONS:
        found = tuple(file.matching(pair))
        if len(found) == 2:
            return found[0], found[1]
    raise BadCatalogue(
        f"no columns of positions are known among {file}",
        advice="name them: --column ra=... --column dec=...",
    )


def _bands(file: _Names) -> Iterator[tuple[str, str]]:
    """Yield the bands that are recognised; of two columns for one band, the first."""
    seen = set()
    for name in file.exact:
        band = _BAND_NAMES.get(_normalised(name))
        if band is None and (match := _BAND.fullmatch(name)):
            band = match[1]
        if band is not None and band not in seen:
            seen.add(band)
            yield band, name


def _given_bands(bands: Mapping[str, str], file: _Names) -> dict[str, str]:
    for band in bands:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,15}", band) or band in _TAKEN:
            raise BadParameters(f"a band cannot be called {band!r}", advice="use other letters and digits")
    return {band: file.named(column) for band, column in bands.items()}


def _error_columns(bands: Mapping[str, str], file: _Names) -> dict[str, str]:
    found = {}
    for band, column in bands.items():
        known = [pattern.format(_normalised(column)) for pattern in _ERRORS]
        known += [_FLUX_OVER_ERROR.format(band.lower())] if "phot_" in column.lower() else []
        known += (
            [f"{band.lower()}_{suffix}" for suffix in ("msigcom", "cmsig")] if column.endswith("_m") else []
        )
        known += (
            [f"{band}err".lower(), f"e_{band}".lower()]
            if column.lower().startswith(("johnson", "sloan"))
            else []
        )
        error = next((name for name in file.matching(known) if _same_case(name, column)), None)
        if error is not None:
            found[band] = error
    return found


def _same_case(error: str, column: str) -> bool:
    """Tell e_Gmag from e_gmag, where a file has both."""
    return not re.fullmatch(r"[A-Za-z].{0,2}mag", column) or column in error


def _usual_epoch(names: Mapping[str, str], bands: Mapping[str, str]) -> float:
    """Return the epoch of catalogues with such columns: Gaia gives positions of its own epoch, others of J2000."""
    is_gaia = "G" in bands and _normalised(names["ra"]) in ("ra", "ra_icrs")
    return GAIA_DR3_EPOCH if is_gaia else 2000.0


def is_flux_over_error(column: str) -> bool:
    """Tell whether a column of errors holds the inverse of the relative error instead."""
    return "flux_over_error" in column.lower()
