"""The dose of chaos, and what is told about it at the end."""

from __future__ import annotations

import pytest
from chaos_dose import Dose, Tell

_told: list[str] = []


@pytest.fixture(scope="session")
def dose() -> Dose:
    """The dose of this session."""
    dose = Dose.prescribed()
    _told.append(f"TOROS_CHAOS_SEED={dose.seed}")
    return dose


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Say something at the end of the session, however the test ends."""

    def say(what: str) -> None:
        _told.append(f"{request.node.name}: {what}")

    return say


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was told."""
    if _told:
        terminalreporter.section("chaos")
        terminalreporter.write("".join(f"{line}\n" for line in _told))
