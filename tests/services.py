"""Which of the services that some tests need answer; for `make test-services`."""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import urlsplit

SERVICES = {
    "TOROS_TEST_POSTGRES": "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    "TOROS_TEST_REDIS": "redis://127.0.0.1:6379/0",
}
"""The environment variables that name them, and where they are looked for otherwise."""

USUAL_PORTS = {"postgresql+psycopg": 5432, "redis": 6379}


def silent_services() -> list[str]:
    """Name the services that do not accept a connection."""
    silent = []
    for name, usual_url in SERVICES.items():
        url = urlsplit(os.environ.get(name, usual_url))
        place = (url.hostname or "localhost", url.port or USUAL_PORTS[url.scheme])
        try:
            socket.create_connection(place, timeout=2).close()
        except OSError as error:
            silent.append(f"{name}: nobody answers at {place[0]}:{place[1]} ({error})")
    return silent


if __name__ == "__main__":
    sys.exit("\n".join(silent_services()) or 0)
