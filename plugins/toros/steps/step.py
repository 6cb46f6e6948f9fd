"""What a step is: a declaration, parameters, and five short functions."""

from __future__ import annotations

import datetime as dt
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from toros.caveats import Caveat
from toros.config import Settings
from toros.errors import BadParameters, Unprocessable
from toros.models import Item, Product
from toros.models.database import Database
from toros.store.store import StagedFile, Store

Rows = TypeVar("Rows")
Inputs = TypeVar("Inputs")
Result = TypeVar("Result")


class Parameters(BaseModel):
    """Base of every step's parameters: frozen, validated, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(ABC, Generic[Rows, Inputs, Result]):
    """A filter and connector of the stream, atomic: it is performed completely or not at all.

    A subclass declares what it takes and leaves, and fills in what it needs of five functions, called in this
    order. The database is in reach of the first and the last only, so no connection is open while pixels
    are processed.

    ============  =====================================================  ======================
    function      does                                                   may touch
    ============  =====================================================  ======================
    query         asks the database                                      rows
    extract       opens files, copies foreign files in                   files
    transform     a pure call of ``toros.science``                       nothing
    write         writes product files into the staging area             staging files
    load          adds rows, within the one transaction of the run       rows
    ============  =====================================================  ======================

    A step without ``takes`` works on no single item (it looks for work, and spawns items).
    """

    name: ClassVar[str]
    version: ClassVar[str]
    takes: ClassVar[type[Item] | None] = None
    from_state: ClassVar[str] = ""
    to_state: ClassVar[str] = ""
    error_state: ClassVar[str] = ""
    Parameters: ClassVar[type[Parameters]] = Parameters
    conditions: ClassVar[tuple[ColumnElement[bool], ...]] = ()
    """Further conditions on the items it takes."""
    groups: ClassVar[tuple[str, ...]] = ("default",)
    lease: ClassVar[dt.timedelta] = dt.timedelta(minutes=15)
    """For how long the claim of a process that cannot be seen from here (another host) is respected."""

    def __init__(self, **parameters: Any) -> None:
        try:
            self.parameters: Any = self.Parameters(**parameters)
        except ValidationError as error:
            raise BadParameters(f"step {self.name}: {error}") from None

    @abstractmethod
    def query(self, session: Session, item: Any, work: Work) -> Rows:
        """Ask the database for what the step needs; return plain values."""

    def extract(self, rows: Rows, work: Work) -> Inputs:  # noqa: ARG002
        """Open the files that ``transform`` will read."""
        return rows  # type: ignore[return-value]  # by default the rows are the inputs

    def transform(self, inputs: Inputs) -> Result:
        """Turn the inputs into the result: no disk to write to, no database, no clock."""
        return inputs  # type: ignore[return-value]  # by default the inputs are the result

    def write(self, result: Result, work: Work) -> None:
        """Write product files into the staging area."""

    def load(self, session: Session, item: Any, result: Result, work: Work) -> None:
        """Add rows; committed together with the products and the state change."""

    def refuse(self, session: Session, item: Any, error: Unprocessable, run_id: int) -> None:
        """Add rows about an item that cannot be processed; committed together with its error state."""


@dataclass
class NewProduct:
    """A product file in the making."""

    file: StagedFile
    kind: str
    owner: Item | None
    caveats: tuple[Caveat, ...]
    inputs: tuple[int, ...]


class Measure(NamedTuple):
    """A number that says how good an item is."""

    name: str
    value: float
    unit: str
    colour: str | None


@dataclass
class Work:
    """The workbench of one run: where its files go, and what it wants recorded."""

    run_id: int
    store: Store
    database: Database
    settings: Settings
    now: dt.datetime
    state: str
    remark: str | None = None
    products: list[NewProduct] = field(default_factory=list)
    spawned: list[tuple[Item, str]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    inputs: set[int] = field(default_factory=set)

    def open(self, product: ProductFile) -> Path:
        """Return the path of an input product, and note that this run read it."""
        self.inputs.add(product.id)
        return self.store.path(product.path)

    def scratch(self, name: str) -> Path:
        """Return a path in the staging area for a file that will not be kept."""
        return self.store.staging(self.run_id) / name

    def stage(
        self,
        kind: str,
        night: dt.date,
        stem: str,
        suffix: str,
        *,
        owner: Item | None = None,
        caveats: Iterable[Caveat] = (),
        inputs: Iterable[int] = (),
    ) -> Path:
        """Announce a product and return the path to write it to.

        Parameters
        ----------
        kind, night, stem, suffix
            What it is: kind of product, observing night, name of what it shows, file suffix.
        owner : Item, optional
            The item it belongs to; by default the one that the run works on.
        caveats
            What its readers must know.
        inputs
            Ids of the products it is made from.
        """
        path = self.store.product_path(night, kind, stem, self.run_id, suffix)
        if any(product.file.path == path for product in self.products):
            raise ValueError(f"run {self.run_id} announces {path} twice")
        staged = self.store.staging(self.run_id) / f"{len(self.products):03d}_{path.name}"
        inputs = tuple(inputs)
        self.inputs.update(inputs)
        self.products.append(
            NewProduct(StagedFile(staged, path), kind, owner, tuple(dict.fromkeys(caveats)), inputs)
        )
        return staged

    def spawn(self, item: Item, state: str) -> None:
        """Add a new item to the stream."""
        self.spawned.append((item, state))

    def measure(self, name: str, value: float, unit: str = "", colour: str | None = None) -> None:
        """Record a number that says how good the item is; what is not finite was not measured, and is left out."""
        if math.isfinite(value):
            self.measures.append(Measure(name, float(value), unit, colour))

    def leave(self, state: str, why: str = "") -> None:
        """Leave the item in another state than the step's usual one, and say why."""
        self.state, self.remark = state, why or None


@dataclass(frozen=True)
class ProductFile:
    """A product as plain values, for use when no session is open."""

    id: int
    path: str
    caveats: tuple[str, ...]

    @classmethod
    def of(cls, product: Product) -> ProductFile:
        """Take the values of a row."""
        return cls(product.id, product.path, tuple(product.caveats))

    @classmethod
    def newest(cls, session: Session, item: Item, kind: str) -> ProductFile:
        """Find the newest product of a kind that an item has.

        Raises
        ------
        Unprocessable
            It has none.
        """
        found = session.scalar(
            select(Product)
            .where(Product.item_id == item.id, Product.kind == kind)
            .order_by(Product.version.desc())
            .limit(1)
        )
        if found is None:
            raise Unprocessable(f"item {item.id} has no product {kind!r}", advice="run `toros fsck`")
        return cls.of(found)
