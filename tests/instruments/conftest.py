from __future__ import annotations

import pytest

from toros.instruments import load_profiles


@pytest.fixture(scope="session")
def profiles():
    return load_profiles()
