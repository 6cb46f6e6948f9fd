"""Items, exposures, products, candidates: the tables refuse what cannot be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from toros.models import (
    Alert,
    AlertRule,
    Arrival,
    CalFile,
    Candidate,
    Delivery,
    Field,
    Item,
    Lineage,
    MasterCal,
    Model,
    Pawprint,
    Product,
    QualityMeasure,
    Rejection,
    Software,
    State,
    StateChange,
    StepRun,
    Vote,
)
from toros.models.database import Database

NOON = dt.datetime(2026, 11, 20, 16, 0, tzinfo=dt.UTC)


def frame(model: type, **columns: Any) -> Any:
    """Make an exposure; ``columns`` differ from a good one."""
    good = {
        "state_id": 5,
        "state_count": 1,
        "name": "M31.fits",
        "checksum": "0" * 64,
        "night": NOON.date(),
        "jd": 2461365.2,
        "observation_date": NOON,
        "exptime": 60.0,
        "imagetype": "Science" if model is Pawprint else "Dark",
        "dialect": "plain",
        "bitpix": 16,
        "naxis": 2,
        "naxis1": 4096,
        "naxis2": 4096,
        "xbinning": 1,
        "ybinning": 1,
        "campaign_id": 1,
    }
    return model(**(good | columns))


def a_run(session: Session, **columns: Any) -> StepRun:
    software = session.scalar(select(Software)) or Software(digest="d", versions={})
    good = {
        "step": "make",
        "step_version": "1",
        "parameters": {},
        "parameters_hash": "h",
        "status": "running",
    }
    process = {"host": "here", "boot": "b", "pid": 1, "pid_started": 0.0}
    run = StepRun(software=software, **(good | process | columns))
    session.add(run)
    session.flush()
    return run


@pytest.fixture
def stream(database: Database) -> Database:
    """A database with a pawprint (1), a run (1), a raw product (1), a field (1) and a candidate (2)."""
    with database.write() as session:
        run = a_run(session)
        pawprint = frame(Pawprint)
        session.add(pawprint)
        session.flush()
        session.add_all(
            [
                StateChange(item_id=pawprint.id, count=1, nw_state_id=5, steprun_id=run.id),
                Product(
                    item_id=pawprint.id,
                    kind="raw",
                    version=1,
                    path="a.fits",
                    size=1,
                    checksum="c",
                    steprun_id=run.id,
                ),
                Field(name="J0040+4100", campaign_id=1, ra=10, dec=41, healpix=7, radius=0.5),
                QualityMeasure(item_id=pawprint.id, steprun_id=run.id, name="fwhm", value=2.5, unit="pixel"),
                AlertRule(name="new object", severity="high", definition={}),
            ]
        )
        session.flush()
        seen = candidate()
        session.add_all([Alert(alertrule_id=1, subject="candidate 2", details={}), seen])
        session.flush()
        session.add(Vote(candidate_id=seen.id, person="Martin", choice="real"))
        session.flush()
        session.add(Delivery(alert_id=1, channel="email", recipient="shift@example.org"))
    return database


def product(**columns: Any) -> Product:
    good = {"item_id": 1, "kind": "calibrated", "version": 1, "path": "b", "size": 1, "checksum": "c"}
    return Product(**(good | {"steprun_id": 1} | columns))


def candidate(**columns: Any) -> Candidate:
    good = {"state_id": 5, "state_count": 1, "field_id": 1, "ra": 10, "dec": 41, "healpix": 7}
    return Candidate(**(good | columns))


def master(**columns: Any) -> MasterCal:
    good = {"state_id": 5, "state_count": 1, "imagetype": "Bias", "set_key": "Bias", "night": NOON.date()}
    size = {"version": 1, "ccd_id": 1, "xbinning": 1, "ybinning": 1, "naxis1": 8, "naxis2": 8}
    return MasterCal(**(good | size | columns))


WRONG: dict[str, Callable[[], object]] = {
    "a negative exposure time": lambda: frame(Pawprint, checksum="1", exptime=-1.0),
    "an unknown image type": lambda: frame(CalFile, checksum="1", imagetype="Arc"),
    "a dark among the pawprints": lambda: frame(Pawprint, checksum="1", imagetype="Dark"),
    "a science frame among the calibration frames": lambda: frame(CalFile, checksum="1", imagetype="Science"),
    "the same content twice": lambda: frame(Pawprint),
    "an image without pixels": lambda: frame(Pawprint, checksum="1", naxis1=0),
    "a binning of zero": lambda: frame(Pawprint, checksum="1", ybinning=0),
    "a frame of no campaign": lambda: frame(Pawprint, checksum="1", campaign_id=4711),
    "a frame in no state": lambda: frame(Pawprint, checksum="1", state_id=None),
    "a file of negative size": lambda: Arrival(state_id=1, state_count=1, path="x", size=-1, mtime_ns=1),
    "a master of science frames": lambda: master(imagetype="Science"),
    "a version zero of a master": lambda: master(version=0),
    "a second product of one name": lambda: product(path="a.fits"),
    "a second product of one version": lambda: product(kind="raw", checksum="d"),
    "a second raw product of one content": lambda: product(kind="raw", version=2),
    "a product of negative size": lambda: product(size=-1),
    "a product that no run made": lambda: product(steprun_id=4711),
    "a product made of itself": lambda: Lineage(input_id=1, output_id=1),
    "a second history": lambda: StateChange(item_id=1, count=1, nw_state_id=5, steprun_id=1),
    "a later change from nowhere": lambda: StateChange(item_id=1, count=2, nw_state_id=5, steprun_id=1),
    "a measure twice in one run": lambda: QualityMeasure(item_id=1, steprun_id=1, name="fwhm", value=2),
    "a measure without value": lambda: QualityMeasure(item_id=1, steprun_id=1, name="sky", value=None),
    "a candidate beyond the pole": lambda: candidate(dec=-90.5),
    "a candidate past the circle": lambda: candidate(ra=360),
    "a second field of one name": lambda: Field(
        name="J0040+4100", campaign_id=1, ra=10, dec=41, healpix=7, radius=0.5
    ),
    "a second vote of one person": lambda: Vote(candidate_id=2, person="Martin", choice="bogus"),
    "a vote for nothing": lambda: Vote(candidate_id=2, person="Bruno", choice="maybe"),
    "an alert told twice": lambda: Alert(alertrule_id=1, subject="candidate 2", details={}),
    "a message sent twice": lambda: Delivery(alert_id=1, channel="email", recipient="shift@example.org"),
    "a delivery in limbo": lambda: Delivery(alert_id=1, channel="sms", recipient="+54", status="lost"),
    "a state of one name twice": lambda: State(name="raw_data", order=9, is_error=False),
    "a refusal of no arrival": lambda: Rejection(arrival_id=1, steprun_id=1, code="c", reason="r", advice=""),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_refused(stream: Database, what: str) -> None:
    with pytest.raises(IntegrityError), stream.write() as session:
        session.add(WRONG[what]())


@pytest.mark.parametrize(
    "right",
    [
        lambda: frame(Pawprint, checksum="1", exptime=0.0, filter=None),
        lambda: frame(CalFile, checksum="1", imagetype="Flat"),
        lambda: product(checksum="c"),
        lambda: Vote(candidate_id=2, person="Bruno", choice="unsure"),
        lambda: candidate(ra=0, dec=90),
        lambda: Delivery(alert_id=1, channel="sms", recipient="shift@example.org"),
    ],
)
def test_what_can_be_is_taken(stream: Database, right: Any) -> None:
    with stream.write() as session:
        session.add(right())


@pytest.mark.parametrize(
    "half", [{"claimed_by_id": 1, "claimed_until": None}, {"claimed_by_id": None, "claimed_until": NOON}]
)
def test_a_claim_has_an_owner_and_a_lease_or_neither(stream: Database, half: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="claim_is_whole"), stream.write() as session:
        session.execute(update(Item).values(**half))


@pytest.mark.parametrize(
    "ending",
    [
        {"status": "succeeded"},
        {"status": "running", "ended_at": NOON},
        {"status": "failed", "ended_at": NOON},
        {"status": "resting", "ended_at": NOON},
    ],
)
def test_a_run_ends_once_and_fails_with_a_code(stream: Database, ending: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), stream.write() as session:
        session.execute(update(StepRun).values(**ending))


@pytest.mark.parametrize("model", [Field, StepRun, Candidate, State])
def test_a_row_that_others_point_at_cannot_go(stream: Database, model: type[Model]) -> None:
    with pytest.raises(IntegrityError), stream.write() as session:
        session.execute(delete(model.__table__))  # type: ignore[arg-type]


def test_numbers_name_one_thing_only(stream: Database) -> None:
    with stream.write() as session:
        session.add_all([frame(CalFile, checksum="1"), master()])
    with stream.read() as session:
        items = session.scalars(select(Item).order_by(Item.id)).all()
        assert [(item.id, type(item)) for item in items] == [
            *((1, Pawprint), (2, Candidate)),
            *((3, CalFile), (4, MasterCal)),
        ]
        assert repr(items[0]) == "<Pawprint 1: raw_data>"


def test_a_moment_keeps_its_meaning_in_any_time_zone(stream: Database) -> None:
    salta = dt.timezone(dt.timedelta(hours=-3))
    with stream.write() as session:
        session.get_one(Pawprint, 1).observation_date = NOON.astimezone(salta)
    with stream.read() as session:
        kept = session.get_one(Pawprint, 1).observation_date
        assert (kept, kept.utcoffset()) == (NOON, dt.timedelta(0))


def test_a_moment_without_time_zone_is_refused(stream: Database) -> None:
    with pytest.raises(Exception, match="has no time zone"), stream.write() as session:
        session.get_one(Pawprint, 1).observation_date = NOON.replace(tzinfo=None)


def test_an_astronomer_may_write_table_names_as_toritos_did(stream: Database) -> None:
    with stream.read() as session:
        query = "SELECT COUNT(*) FROM Pawprint JOIN StateChange ON StateChange.item_id = Pawprint.id"
        assert session.execute(text(query)).scalar_one() == 1
