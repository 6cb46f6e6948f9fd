"""Where the machine code of the inner loops is kept.

numba keeps it beside the modules, or in the home of the user; where it can write to neither - a package that the
administrator installed, a service without a home - it refuses to import them. Then a folder of the user's
own among the temporary files serves, and the loops are compiled once after each boot.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

_CHOSEN = "NUMBA_CACHE_DIR"
"""What numba reads when it is imported."""


def keep_machine_code(package: Path, environment: MutableMapping[str, str]) -> None:
    """Tell numba, by the environment, of a folder that it can write to, if it would not find one.

    Parameters
    ----------
    package : Path
        The folder of the modules with inner loops.
    environment : mutable mapping
        Of the process, before numba is imported. A folder that is chosen there is left as it is.
    """
    if environment.get(_CHOSEN) or _can_write(package):
        return
    home = environment.get("XDG_CACHE_HOME") or environment.get("HOME")
    if home and _can_write(Path(home)):
        return
    folder = _private_folder()
    if folder is not None:
        environment[_CHOSEN] = str(folder)


def _can_write(folder: Path) -> bool:
    """Tell whether a file can be made there: rights alone do not tell, for root or on a read-only disk."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _private_folder() -> Path | None:
    """Return a folder that nobody else can write to: what lies there is executed."""
    try:
        folder = Path(tempfile.gettempdir()) / f"toros-numba-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
        return folder if is_ours else Path(tempfile.mkdtemp(prefix="toros-numba-"))
    except OSError:
        return None
