"""Rules of the observatory as TOML files, checked while they are read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from toros.errors import BadProfile


class DataModel(BaseModel):
    """A table of a data file: every key is known, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Table = TypeVar("Table", bound=DataModel)


def read_data_file(path: Path, model: type[Table]) -> Table:
    """Read one TOML file.

    Raises
    ------
    BadProfile
        The file is not TOML, or does not say what it should; the message names file and field.
    """
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadProfile(f"{path} is not TOML: {error}", advice="correct the file") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()
        )
        raise BadProfile(f"{path}: {faults}", advice="correct the file") from None
