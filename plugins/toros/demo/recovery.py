"""What the candidates are in truth: which changes of the simulated sky were found, and what was found besides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table, vstack
from scipy.spatial import cKDTree
from sqlalchemy import select

from toros.models import Detection, Pawprint
from toros.models.database import Database
from toros.science.healpix import unit_vectors
from toros.sim import Change, SimulatedFrame

SAME_ARCSEC = 1.5
"""A detection so near to something that has changed is that."""


@dataclass(frozen=True)
class Recovery:
    """What became of the changes of one kind: of the objects, and of their images on all frames.

    An object is found if the model takes a candidate at its place for real.
    """

    objects: int
    objects_found: int
    images: int
    images_found: int


def changes_on(frames: Iterable[SimulatedFrame]) -> Table:
    """Return the changes in the truth of some frames: file, name, kind, ra, dec (deg), mag."""
    tables = []
    for frame in frames:
        if frame.truth is None:
            continue
        rows = frame.truth[np.isin(frame.truth["kind"], list(Change))]["name", "kind", "ra", "dec", "mag"]
        rows["file"] = frame.name
        tables.append(rows)
    return vstack(tables, metadata_conflicts="silent")


def name_detections(database: Database, changes: Table) -> dict[int, dict[str, str]]:
    """Return, for each candidate, which changes its detections show, by the names of the frames.

    Parameters
    ----------
    database : Database
        After the night.
    changes : Table
        As `changes_on` returns it.
    """
    query = (
        select(Detection.candidate_id, Pawprint.name, Detection.ra, Detection.dec)
        .join(Detection.pawprint)
        .where(~Detection.forced)
    )
    reach = np.radians(SAME_ARCSEC / 3600)
    trees = {
        group["file"][0]: (cKDTree(unit_vectors(group["ra"], group["dec"])), group["name"])
        for group in changes.group_by("file").groups
    }
    named: dict[int, dict[str, str]] = {}
    with database.read() as session:
        for candidate, file, ra, dec in session.execute(query):
            seen = named.setdefault(candidate, {})
            if file not in trees:
                continue
            tree, names = trees[file]
            distance, nearest = tree.query(unit_vectors(ra, dec), distance_upper_bound=reach)
            if np.isfinite(distance):
                seen[file] = str(names[nearest])
    return named


def recoveries(
    changes: Table, named: Mapping[int, Mapping[str, str]], real: set[int]
) -> dict[Change, Recovery]:
    """Compare what was found with what was there.

    Parameters
    ----------
    changes : Table
        As `changes_on` returns it.
    named : mapping
        As `name_detections` returns it.
    real : set of int
        Candidates that were taken for real.
    """
    found = {(file, name) for number in real for file, name in named.get(number, {}).items()}
    there = set(zip(changes["file"].tolist(), changes["name"].tolist(), strict=True))
    kinds = dict(zip(changes["name"].tolist(), changes["kind"].tolist(), strict=True))

    def images(of: set[tuple[str, str]], kind: Change) -> list[str]:
        return [name for _, name in of if kinds[name] == kind]

    return {
        kind: Recovery(
            len({*images(there, kind)}),
            len({*images(found, kind)}),
            len(images(there, kind)),
            len(images(found, kind)),
        )
        for kind in Change
    }


def false_ones(named: Mapping[int, Mapping[str, str]], real: set[int]) -> set[int]:
    """Return the candidates that were taken for real where nothing has changed."""
    return {number for number in real if not named.get(number)}
