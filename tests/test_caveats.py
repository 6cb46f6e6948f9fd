"""Every caveat can be explained."""

from __future__ import annotations

import json

from toros.caveats import LEGEND, Caveat


def test_every_caveat_has_a_legend_of_its_own() -> None:
    assert set(LEGEND) == set(Caveat)
    assert len(set(LEGEND.values())) == len(LEGEND)


def test_a_caveat_is_its_code_wherever_it_is_stored() -> None:
    assert json.dumps([Caveat.NO_DARK]) == '["no_dark"]'
    assert all(caveat.value == caveat.name.lower() for caveat in Caveat)
