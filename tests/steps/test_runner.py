"""A step is performed completely or not at all, and is always on record."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from clock import Clock
from small_steps import (
    NIGHT,
    Make,
    Troubled,
    Wish,
    check,
    last_run,
    new_stack,
    raising,
    state_of,
    versions_of,
    wanted_stack,
)
from toros import __version__
from toros.caveats import Caveat
from toros.config import Settings
from toros.errors import (
    BadParameters,
    Conflict,
    DatabaseUnavailable,
    FileMissing,
    Misconfigured,
    NotFits,
    NothingToDo,
    SchemaOutdated,
    TorosError,
    Transient,
    UnknownItem,
)
from toros.models import (
    Arrival,
    Item,
    Lineage,
    Product,
    QualityMeasure,
    Stack,
    StateChange,
    StepInput,
    StepRun,
)
from toros.models.database import Database
from toros.steps.process import ProcessIdentity
from toros.steps.runner import CONFLICT_TRIES, Origin, Runner
from toros.steps.step import ProductFile, Step, Work
from toros.store.store import Store


@pytest.fixture
def stack(runner: Runner) -> int:
    """A wanted stack."""
    return new_stack(runner)


def count(runner: Runner, model: type) -> int:
    with runner.database.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


# ------------------------------------------------------------------------------------------------ success


def test_a_step_moves_its_item_and_leaves_a_product_a_measure_and_a_record(
    runner: Runner, stack: int, store: Store
) -> None:
    outcome = runner.run(Make(), stack)

    assert (outcome.item_id, outcome.state, outcome.again) == (stack, "stacked", False)
    with runner.database.read() as session:
        item = session.get_one(Stack, stack)
        assert (item.state.name, item.filter) == ("stacked", "clear")
        assert (item.claimed_by_id, item.claimed_until) == (None, None)
        history = [(c.count, c.old_state and c.old_state.name, c.nw_state.name) for c in item.changes]
        assert history == [(1, None, "stack_wanted"), (2, "stack_wanted", "stacked")]
        assert item.changes[1].steprun_id == outcome.run_id
        product = session.get_one(Product, outcome.products[0])
        assert (product.item_id, product.kind, product.version) == (stack, "stack", 1)
        measure = session.scalars(select(QualityMeasure)).one()
        assert (measure.item_id, measure.name, measure.value, measure.unit) == (stack, "depth", 20.5, "mag")
    assert store.path(product.path).read_bytes() == b"field 1.0: starlight"
    assert check(runner).ok


def test_a_product_is_read_only_named_after_its_run_and_its_row_knows_size_and_checksum(
    runner: Runner, stack: int, store: Store
) -> None:
    outcome = runner.run(Make(), stack)

    with runner.database.read() as session:
        product = session.get_one(Product, outcome.products[0])
    file = store.path(product.path)
    assert product.path == f"{NIGHT}/stack/M_31_deep_r{outcome.run_id:06d}.txt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert product.size == file.stat().st_size
    assert product.checksum == hashlib.sha256(file.read_bytes()).hexdigest()
    assert store.staged_runs() == []


def test_the_record_of_a_run_says_what_ran_where_on_what_and_for_how_much(
    runner: Runner, stack: int, settings: Settings
) -> None:
    origin = Origin("toros_survey", "manual__1", "make", 3, 2)
    outcome = Runner(runner.database, settings, origin, runner.clock).run(Make(light="moonlight"), stack)

    with runner.database.read() as session:
        run = session.get_one(StepRun, outcome.run_id)
        assert run.software.versions["toros"] == __version__
    assert (run.step, run.step_version, run.status) == ("make", "7", "succeeded")
    assert (run.item_id, run.parameters) == (stack, {"light": "moonlight"})
    assert (run.dag_id, run.run_id, run.task_id, run.map_index, run.try_number) == (
        "toros_survey",
        "manual__1",
        "make",
        3,
        2,
    )
    assert ProcessIdentity(run.host, run.boot, run.pid, run.pid_started) == ProcessIdentity.own()
    assert run.pid == os.getpid()
    assert (run.started_at, run.ended_at) == (runner.clock(), runner.clock())
    assert run.cpu_seconds is not None
    assert run.cpu_seconds >= 0
    assert run.peak_memory is not None
    assert run.peak_memory > 1_000_000
    assert (run.error_code, run.error_message, run.traceback) == (None, None, None)


def test_runs_with_equal_parameters_share_their_hash_and_their_software(runner: Runner) -> None:
    runs = []
    for light in ("starlight", "starlight", "moonlight"):
        runner.run(Make(light=light), new_stack(runner))
        runs.append(last_run(runner))

    assert runs[0].parameters_hash == runs[1].parameters_hash != runs[2].parameters_hash
    assert len({run.software_id for run in runs}) == 1


def test_running_a_step_twice_gives_the_state_of_running_it_once(runner: Runner, stack: int) -> None:
    once = runner.run(Make(), stack)
    runs = count(runner, StepRun)

    twice = runner.run(Make(), stack)

    assert twice.again
    assert (twice.run_id, twice.state, twice.products) == (once.run_id, "stacked", once.products)
    assert count(runner, StepRun) == runs
    assert versions_of(runner, stack) == [1]


def test_a_step_that_spawned_items_tells_of_them_again(runner: Runner) -> None:
    class Fork(Make):
        name = "fork"

        def load(self, session: Session, item: Stack, result: bytes, work: Work) -> None:
            work.spawn(wanted_stack("child"), "stack_wanted")

    parent = new_stack(runner)
    first, again = runner.run(Fork(), parent), runner.run(Fork(), parent)

    assert len(first.spawned) == 1
    assert again.spawned == first.spawned
    assert state_of(runner, first.spawned[0]) == "stack_wanted"
    with runner.database.read() as session:
        child = session.get_one(Stack, first.spawned[0])
        assert [change.steprun_id for change in child.changes] == [first.run_id]


def test_reprocessing_makes_a_new_version_beside_the_old_one(
    runner: Runner, stack: int, store: Store
) -> None:
    class SendBack(Step[None, None, None]):
        name = "send_back"
        version = "1"
        takes = Stack
        from_state = "stacked"
        to_state = "stack_wanted"

        def query(self, session: Session, item: Stack, work: Work) -> None:
            """Need nothing."""

    runner.run(Make(light="old light"), stack)
    runner.run(SendBack(), stack)
    runner.run(Make(light="new light"), stack)

    with runner.database.read() as session:
        products = session.scalars(select(Product).order_by(Product.version)).all()
    assert [product.version for product in products] == [1, 2]
    assert [store.path(product.path).read_bytes() for product in products] == [
        b"field 1.0: old light",
        b"field 1.0: new light",
    ]
    assert check(runner).ok


def test_a_product_knows_its_parents_and_its_run_what_it_read(runner: Runner, store: Store) -> None:
    class Blend(Step[ProductFile, bytes, bytes]):
        name = "blend"
        version = "1"
        takes = Stack
        from_state = "stacked"
        to_state = "stack_wanted"
        error_state = "failed_stack"

        def query(self, session: Session, item: Stack, work: Work) -> ProductFile:
            return ProductFile.of(session.scalars(select(Product).where(Product.item_id == item.id)).one())

        def extract(self, rows: ProductFile, work: Work) -> bytes:
            self.parent = rows.id
            return work.open(rows).read_bytes()

        def write(self, result: bytes, work: Work) -> None:
            caveats = [Caveat.FEW_FRAMES, Caveat.FEW_FRAMES]
            path = work.stage("blend", NIGHT, "blend", ".txt", inputs=[self.parent], caveats=caveats)
            path.write_bytes(result * 2)

    stack = new_stack(runner)
    made = runner.run(Make(), stack)
    blended = runner.run(Blend(), stack)

    with runner.database.read() as session:
        edge = session.scalars(select(Lineage)).one()
        assert (edge.input_id, edge.output_id) == (made.products[0], blended.products[0])
        read = session.scalars(select(StepInput)).one()
        assert (read.steprun_id, read.product_id) == (blended.run_id, made.products[0])
        product = session.get_one(Product, blended.products[0])
        assert product.caveats == ["few_frames"]
    assert store.path(product.path).read_bytes() == b"field 1.0: starlight" * 2


def test_a_step_may_leave_its_item_in_another_state(runner: Runner, stack: int) -> None:
    class Hesitate(Make):
        def write(self, result: bytes, work: Work) -> None:
            work.leave("failed_stack")

    assert runner.run(Hesitate(), stack).state == "failed_stack"
    assert last_run(runner).status == "succeeded"
    assert check(runner).ok


def test_an_item_may_point_at_one_that_is_spawned_with_it(runner: Runner, settings: Settings) -> None:
    """The row that points brings the new item into the session before it has a state."""

    class Register(Step[None, None, None]):
        name = "register"
        version = "1"
        takes = Arrival
        from_state = "arrived"
        to_state = "registered"

        def query(self, session: Session, item: Arrival, work: Work) -> None:
            """Need nothing."""

        def load(self, session: Session, item: Arrival, result: None, work: Work) -> None:
            stack = wanted_stack("new")
            work.spawn(stack, "stack_wanted")
            item.exposure = stack

    class Arrive(Wish):
        def write(self, result: None, work: Work) -> None:
            work.spawn(Arrival(path="/camera/1.fits", size=1, mtime_ns=1), "arrived")

    arrival = runner.run(Arrive()).spawned[0]
    outcome = runner.run(Register(), arrival)

    with runner.database.read() as session:
        assert session.get_one(Arrival, arrival).exposure_id == outcome.spawned[0]


def test_a_measure_that_is_no_number_is_left_out(runner: Runner, stack: int) -> None:
    class NoStars(Make):
        def write(self, result: bytes, work: Work) -> None:
            work.measure("fwhm", float("nan"), "pixel")
            work.measure("stars", 0)

    runner.run(NoStars(), stack)

    with runner.database.read() as session:
        assert session.scalars(select(QualityMeasure.name)).all() == ["stars"]


# ------------------------------------------------------------------------------------------------- fates


FATES: list[tuple[TorosError | Exception, str, str, str]] = [
    (FileMissing("no such frame"), "failed", "stack_wanted", "file_missing"),
    (NotFits("not a frame"), "failed", "failed_stack", "not_fits"),
    (NothingToDo("no work"), "skipped", "stack_wanted", "nothing_to_do"),
    (Misconfigured("no catalogue", advice="buy one"), "failed", "stack_wanted", "misconfigured"),
    (ZeroDivisionError("a bug"), "failed", "stack_wanted", "ZeroDivisionError"),
]


@pytest.mark.parametrize("stage", ["query", "extract", "transform", "write", "load"])
@pytest.mark.parametrize(("error", "status", "state", "code"), FATES, ids=[fate[-1] for fate in FATES])
def test_an_error_decides_its_own_fate_at_every_stage(
    runner: Runner, stack: int, store: Store, error: Exception, status: str, state: str, code: str, stage: str
) -> None:
    with pytest.raises(type(error), match=str(error.args[0])):
        runner.run(Troubled(stage, raising(error)), stack)

    assert state_of(runner, stack) == state
    run = last_run(runner)
    assert (run.status, run.error_code, run.item_id) == (status, code, stack)
    assert str(error.args[0]) in (run.error_message or "")
    assert (run.traceback is None) == isinstance(error, TorosError)
    assert run.ended_at is not None
    assert count(runner, Product) == 0
    assert list(store.files()) == []
    assert check(runner, heal=False).ok


@pytest.mark.parametrize("stage", ["extract", "write"])
@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (lambda: Path("/dev/full").write_text("light"), "disk_full"),
        (lambda: Path("/nowhere/frame.fits").read_bytes(), "file_missing"),
        (lambda: Path("/dev").read_bytes(), "storage_unavailable"),
    ],
)
def test_what_the_operating_system_says_about_files_is_worth_another_try(
    runner: Runner, stack: int, stage: str, trouble: Callable[[], object], code: str
) -> None:
    with pytest.raises(Transient):
        runner.run(Troubled(stage, trouble), stack)

    assert last_run(runner).error_code == code
    assert runner.run(Make(), stack).state == "stacked"


def test_what_a_library_says_about_the_content_of_a_file_is_not(runner: Runner, stack: int) -> None:
    with pytest.raises(OSError, match="Empty or corrupt"):
        runner.run(Troubled("extract", raising(OSError("Empty or corrupt FITS file"))), stack)

    assert last_run(runner).error_code == "OSError"


def test_what_a_person_can_do_about_an_error_is_on_record(runner: Runner, stack: int) -> None:
    with pytest.raises(Misconfigured):
        runner.run(Troubled("query", raising(Misconfigured("no catalogue", advice="buy one"))), stack)

    assert last_run(runner).error_message == "no catalogue — buy one"


def test_a_bug_is_on_record_with_its_traceback(runner: Runner, stack: int) -> None:
    with pytest.raises(ZeroDivisionError):
        runner.run(Troubled("transform", lambda: 1 // 0), stack)

    assert "ZeroDivisionError: " in (last_run(runner).traceback or "")


def test_bytes_that_are_no_text_do_not_spoil_the_record(runner: Runner, stack: int) -> None:
    garbage = "OBJECT = '\x00\x1b[31m\udcff'"
    for error in (NotFits(garbage), ValueError(garbage)):
        with pytest.raises(type(error)):
            runner.run(Troubled("extract", raising(error)), new_stack(runner))
        message = last_run(runner).error_message or ""
        assert message.startswith(r"OBJECT = '\x00\x1b[31m\udcff'")


def test_an_item_that_cannot_be_processed_is_refused_by_its_step(runner: Runner, stack: int) -> None:
    with pytest.raises(NotFits):
        runner.run(Troubled("extract", raising(NotFits("a photograph"))), stack)

    with runner.database.read() as session:
        item = session.get_one(Stack, stack)
        assert (item.state.name, item.filter) == ("failed_stack", "none")
        assert item.changes[-1].steprun_id == last_run(runner).id


def test_an_item_that_failed_before_tells_the_same_error_again(runner: Runner, stack: int) -> None:
    with pytest.raises(NotFits) as first:
        runner.run(Troubled("extract", raising(NotFits("a photograph"))), stack)
    runs = count(runner, StepRun)

    with pytest.raises(NotFits) as second:
        runner.run(Make(), stack)

    assert str(second.value) == str(first.value)
    assert count(runner, StepRun) == runs
    assert count(runner, StateChange) == 2


def test_a_step_without_an_error_state_leaves_what_it_cannot_process(runner: Runner, stack: int) -> None:
    class Forgiving(Troubled):
        error_state = ""

    with pytest.raises(NotFits):
        runner.run(Forgiving("extract", raising(NotFits("a photograph"))), stack)

    assert state_of(runner, stack) == "stack_wanted"
    assert last_run(runner).error_code == "not_fits"


def test_an_item_whose_turn_is_over_is_nothing_to_do(runner: Runner, stack: int) -> None:
    class After(Make):
        name = "after"
        from_state = "stacked"
        to_state = "stack_wanted"

    with pytest.raises(NothingToDo, match="is stack_wanted, step after takes stacked"):
        runner.run(After(), stack)


def test_a_step_refuses_items_of_another_kind_and_items_that_are_not_there(
    runner: Runner, stack: int
) -> None:
    class Members(Make):
        takes = Arrival  # type: ignore[assignment]
        from_state = "arrived"

    with pytest.raises(UnknownItem, match="takes a Arrival"):
        runner.run(Members(), stack)
    with pytest.raises(UnknownItem, match="item 4711 is None"):
        runner.run(Make(), 4711)
    with pytest.raises(UnknownItem, match="takes a Stack; item None"):
        runner.run(Make())
    with pytest.raises(UnknownItem, match="takes no item"):
        runner.run(Wish(), stack)
    assert count(runner, StepRun) == 1


def test_parameters_are_checked_before_anything_happens() -> None:
    for wrong in ({"stacks": 0}, {"stacks": "many"}, {"frames": 3}):
        with pytest.raises(BadParameters, match="step wish"):
            Wish(**wrong)
    with pytest.raises(ValueError, match="frozen"):
        Wish().parameters.stacks = 2


def test_a_state_that_is_no_row_is_found_out_before_any_work(runner: Runner, stack: int) -> None:
    for attribute in ("from_state", "to_state", "error_state"):
        Confused = type("Confused", (Make,), {attribute: "confused"})  # noqa: N806
        with pytest.raises((Misconfigured, NothingToDo), match="confused"):
            runner.run(Confused(), stack)
    assert state_of(runner, stack) == "stack_wanted"
    assert check(runner, heal=False).ok


def test_a_product_that_belongs_to_nobody_is_refused(runner: Runner, store: Store) -> None:
    class Lonely(Wish):
        def write(self, result: None, work: Work) -> None:
            work.stage("stack", NIGHT, "lonely", ".txt").write_bytes(b"light")

    with pytest.raises(Misconfigured, match="belongs to no item"):
        runner.run(Lonely())
    assert list(store.files()) == []


def test_two_products_of_one_run_cannot_have_one_name(runner: Runner, stack: int, store: Store) -> None:
    class Twins(Make):
        def write(self, result: bytes, work: Work) -> None:
            for _ in range(2):
                work.stage("stack", NIGHT, "twin", ".txt").write_bytes(result)

    with pytest.raises(ValueError, match="twice"):
        runner.run(Twins(), stack)
    assert list(store.files()) == []


# ------------------------------------------------------------------------------------------ connections


def open_connections(database: Database) -> int:
    """Count the connections of this process to a database, as the operating system or the server sees them."""
    if database.is_sqlite:
        file = str(database.engine.url.database)
        targets = []
        for handle in Path("/proc/self/fd").iterdir():
            try:
                targets.append(str(handle.readlink()))
            except FileNotFoundError:
                continue
        return targets.count(file)
    with database.read() as session:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return int(session.connection().exec_driver_sql(others).scalar_one())


@pytest.mark.parametrize(
    ("stage", "connected"), [("query", 1), ("extract", 0), ("transform", 0), ("write", 0)]
)
def test_no_connection_is_open_while_pixels_are_processed(
    runner: Runner, stack: int, stage: str, connected: int
) -> None:
    seen: list[int] = []
    runner.run(Troubled(stage, lambda: seen.append(open_connections(runner.database))), stack)

    assert seen == [connected]


# -------------------------------------------------------------------------------------------- conflicts


class Arrive(Wish):
    """Notes a file unless it is known; a rival may be faster."""

    name = "arrive"

    def __init__(self, rival: Callable[[], object] = lambda: None, size: int = 1) -> None:
        super().__init__()
        self.rival = rival
        self.size = size

    def query(self, session: Session, item: None, work: Work) -> None:
        if session.scalar(select(func.count()).select_from(Arrival)):
            raise NothingToDo("the file is known")

    def write(self, result: None, work: Work) -> None:
        work.spawn(Arrival(path="/camera/1.fits", size=self.size, mtime_ns=1), "arrived")
        self.rival()


def test_who_loses_a_race_for_a_row_runs_again_and_finds_what_the_other_wrote(runner: Runner) -> None:
    with pytest.raises(NothingToDo, match="the file is known"):
        runner.run(Arrive(rival=lambda: runner.run(Arrive())))

    with runner.database.read() as session:
        runs = session.execute(select(StepRun.status, StepRun.error_code).order_by(StepRun.id)).all()
    assert runs == [("failed", "conflict"), ("succeeded", None), ("skipped", "nothing_to_do")]
    assert count(runner, Arrival) == 1
    assert check(runner).ok


def test_a_step_that_loses_every_race_gives_up_for_now(runner: Runner) -> None:
    class Stubborn(Arrive):
        def query(self, session: Session, item: None, work: Work) -> None:
            """Do not look."""

    runner.run(Stubborn())
    with pytest.raises(Conflict):
        runner.run(Stubborn())

    with runner.database.read() as session:
        failed = select(func.count()).select_from(StepRun).where(StepRun.error_code == "conflict")
        assert session.scalar(failed) == CONFLICT_TRIES


def test_a_row_that_must_not_be_is_no_conflict(runner: Runner) -> None:
    with pytest.raises(IntegrityError, match="size_is_not_negative"):
        runner.run(Arrive(size=-1))

    assert (last_run(runner).id, last_run(runner).error_code) == (1, "IntegrityError")


# --------------------------------------------------------------------------------------- database away


def test_a_database_that_stays_locked_leaves_the_old_state_and_is_healed_by_the_next_run(
    database: Database, settings: Settings, clock: Clock, stack: int
) -> None:
    if not database.is_sqlite:
        pytest.skip("only SQLite locks the whole database")
    impatient = Runner(Database(f"{database.url}?timeout=0.05"), settings, clock=clock)
    other = sqlite3.connect(str(database.engine.url.database), isolation_level=None)
    with closing(other):
        with pytest.raises(DatabaseUnavailable, match="locked"):
            impatient.run(Troubled("write", lambda: other.execute("BEGIN IMMEDIATE")), stack)
        other.execute("ROLLBACK")

    assert (state_of(impatient, stack), last_run(impatient).status) == ("stack_wanted", "running")
    assert impatient.run(Make(), stack).state == "stacked"
    assert check(impatient).ok
    assert [file.startswith(str(NIGHT)) for file in impatient.store.files()] == [True]


def test_a_connection_that_breaks_in_the_last_transaction_leaves_the_old_state(
    runner: Runner, stack: int
) -> None:
    if runner.database.is_sqlite:
        pytest.skip("SQLite has no server")

    class Broken(Make):
        def load(self, session: Session, item: Stack, result: bytes, work: Work) -> None:
            session.connection().exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailable):
        runner.run(Broken(), stack)

    assert (state_of(runner, stack), last_run(runner).error_code) == ("stack_wanted", "database_unavailable")
    assert list(runner.store.files()) == []
    assert runner.run(Make(), stack).state == "stacked"
    assert check(runner).ok


def test_a_commit_whose_answer_is_lost_is_found_done(runner: Runner, stack: int) -> None:
    """The line breaks after the server committed: the step cannot know, its products stay, the next try does."""

    def lose_the_answer(session: Session) -> None:
        with runner.database.read() as other:
            if other.get_one(Item, stack).state.name == "stacked":
                raise OperationalError("COMMIT", None, Exception("connection lost"))

    event.listen(Session, "after_commit", lose_the_answer)
    try:
        with pytest.raises(DatabaseUnavailable, match="connection lost"):
            runner.run(Make(), stack)
    finally:
        event.remove(Session, "after_commit", lose_the_answer)

    assert runner.run(Make(), stack).again
    assert versions_of(runner, stack) == [1]
    assert check(runner).ok


def test_the_tables_must_be_there(empty_database: Database, settings: Settings, clock: Clock) -> None:
    with pytest.raises(SchemaOutdated, match="toros migrate"):
        Runner(empty_database, settings, clock=clock).run(Wish())
