"""What all tables share: naming, time, and how a position on the sky is kept."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, CheckConstraint, DateTime, MetaData
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Model(DeclarativeBase):
    """Base of all tables.

    A table is named like its class in lower case without underscores, so that ``SELECT * FROM CalFile``
    means the same, unquoted and in any case, to SQLite and to PostgreSQL.
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)

    @declared_attr.directive
    def __tablename__(cls) -> str:  # noqa: N805
        return cls.__name__.lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'id', None)}>"


class UTCDateTime(TypeDecorator[dt.datetime]):
    """A moment, always with time zone in Python and always UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    # The two conversions of SQLAlchemy's TypeDecorator.
    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(
        self,
        value: dt.datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def utcnow() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.UTC)


HEALPIX_ORDER = 14
"""Nested HEALPix of this order (pixels of 12.9 arcsec) indexes every position on the sky."""


class OnSky:
    """A position (ICRS, degrees) with its HEALPix index, so that a cone search is an index range scan."""

    ra: Mapped[float]
    dec: Mapped[float]
    healpix: Mapped[int] = mapped_column(BigInteger, index=True)


def on_sky_checks() -> tuple[CheckConstraint, ...]:
    """Return the constraints that a table with a position has."""
    return (
        CheckConstraint("ra >= 0 AND ra < 360", name="ra_in_range"),
        CheckConstraint("dec >= -90 AND dec <= 90", name="dec_in_range"),
    )
