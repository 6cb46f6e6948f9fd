"""What a night came to, and the proof that nothing of it was lost, doubled or left lying about."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from astropy.io import fits
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from toros.config import Settings
from toros.demo.progress import look
from toros.models import (
    Arrival,
    CalFile,
    Combination,
    Item,
    MasterCal,
    Pawprint,
    Product,
    QualityMeasure,
    Rejection,
    StepRun,
    utcnow,
)
from toros.models.database import Database
from toros.steps.fsck import fsck
from toros.store.inbox import scan
from toros.store.store import Store

Account = dict[str, dict[str, Any]]


def assert_nothing_is_lost(settings: Settings) -> None:
    """Every rule of fsck holds, every file is accounted for, all has come to its end, nothing lies about."""
    database, store = Database(settings.database_url), Store(settings.data_root)
    report = fsck(database, store, settings, utcnow(), heal=False)
    assert report.violations == ()
    assert report.waiting == 0
    assert store.staged_runs() == []
    assert look(database).is_complete(sum(1 for _ in scan(settings.inbox)))
    with database.read() as session:
        assert not session.scalar(select(func.count()).where(StepRun.status == "running"))
        assert not session.scalar(select(func.count()).where(Item.claimed_by_id.is_not(None)))


def account_of(settings: Settings) -> Account:
    """Tell what became of every file, exposure and master, down to the pixels and the measured numbers.

    Exposures are named by the content of their raw file: of two files with one content, the one that was registered
    first gives the exposure its name. Masters are those that count in the end.
    """
    with Database(settings.database_url).read() as session:
        return {
            "files": _files(session),
            "exposures": _exposures(session, settings),
            "masters": _masters(session, settings),
        }


def differences(one: Account, other: Account) -> Account:
    """Return what differs between two accounts, and nothing else."""
    return {
        part: {
            name: (one[part].get(name), other[part].get(name))
            for name in one[part].keys() | other[part].keys()
            if one[part].get(name) != other[part].get(name)
        }
        for part in one
        if one[part] != other[part]
    }


def _files(session: Session) -> dict[str, Any]:
    found = defaultdict(list)
    rows = select(Arrival, Rejection.code).outerjoin(Rejection, Rejection.arrival_id == Arrival.id)
    for arrival, code in session.execute(rows):
        found[_checksum(Path(arrival.path))].append((arrival.state.name, code))
    return {content: sorted(outcomes, key=str) for content, outcomes in found.items()}


def _exposures(session: Session, settings: Settings) -> dict[str, Any]:
    return {
        exposure.checksum: {
            "kind": exposure.imagetype,
            "night": exposure.night,
            "state": exposure.state.name,
            "measures": _measures(session, exposure),
            "products": _products(session, exposure, settings),
        }
        for model in (CalFile, Pawprint)
        for exposure in session.scalars(select(model))
    }


def _masters(session: Session, settings: Settings) -> dict[str, Any]:
    masters = session.scalars(select(MasterCal).order_by(MasterCal.version))
    return {
        f"{master.set_key} of {master.night}": {
            "state": master.state.name,
            "members": sorted(
                session.scalars(
                    select(CalFile.checksum)
                    .join(Combination, Combination.calfile_id == CalFile.id)
                    .where(Combination.mastercal_id == master.id)
                )
            ),
            "measures": _measures(session, master),
            "products": _products(session, master, settings),
        }
        for master in masters
    }


def _measures(session: Session, item: Item) -> list[tuple[str, float]]:
    query = select(QualityMeasure.name, QualityMeasure.value).where(QualityMeasure.item_id == item.id)
    return sorted((name, value) for name, value in session.execute(query))


def _products(session: Session, item: Item, settings: Settings) -> list[tuple[Any, ...]]:
    query = select(Product).where(Product.item_id == item.id).order_by(Product.kind, Product.version)
    return [
        (product.kind, product.version, tuple(product.caveats), _pixels(settings.data_root / product.path))
        for product in session.scalars(query)
    ]


def _pixels(path: Path) -> dict[str, str]:
    """Return a digest of each plane or table; of what is no FITS file, of the whole."""
    if path.suffix != ".fits":
        return {path.suffix: _checksum(path)}
    with fits.open(path) as planes:
        return {
            plane.name: hashlib.sha256(plane.data.tobytes()).hexdigest()
            for plane in planes
            if plane.data is not None
        }


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
