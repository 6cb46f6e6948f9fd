"""How the sky is searched for what is new is data."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from toros.errors import BadProfile
from toros.steps import survey_rules
from toros.steps.survey_rules import read_survey_rules

SHIPPED = Path(survey_rules.__file__).with_suffix(".toml")


def test_the_shipped_rules_can_be_followed() -> None:
    rules = read_survey_rules()
    assert rules == read_survey_rules(SHIPPED)
    assert rules.stacks.fewest_frames <= rules.stacks.most_frames
    assert rules.candidates.counterpart_radius > 0


def test_every_rule_says_what_it_means() -> None:
    lines = SHIPPED.read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert above.startswith("# "), line


def test_a_rule_can_be_changed_in_a_copy(tmp_path: Path) -> None:
    text = re.sub("fewest_frames = .*", "fewest_frames = 7", SHIPPED.read_text())
    (tmp_path / "mine.toml").write_text(text)
    rules = read_survey_rules(tmp_path / "mine.toml")
    assert rules.stacks.fewest_frames == 7
    assert rules.fields == read_survey_rules().fields


@pytest.mark.parametrize(
    ("rule", "instead"),
    [
        ("radius = .*", "radius = 0.6"),
        ("quiet_seconds = .*", "quiet_seconds = -1"),
        ("quiet_seconds = .*", 'quiet_seconds = "soon"'),
        ("fewest_frames = .*", "fewest_frames = 1"),
        ("worst_fwhm = .*", "worst_fwhm = 0.5"),
        ("threshold = .*", "threshold = 1.0"),
        ("most = .*", "most = 0"),
        ("stamp_fwhm = .*", ""),
        ("stamp_fwhm = .*", "stamp_fwhm = 6.0\nstamp_colour = 1"),
        (r"\[references\]", "[reference]"),
        (r"\[stacks\]", "[stacks"),
    ],
)
def test_rules_that_make_no_sense_are_refused(tmp_path: Path, rule: str, instead: str) -> None:
    text, count = re.subn(rf"^{rule}$", instead, SHIPPED.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(BadProfile, match=r"mine\.toml") as refused:
        read_survey_rules(tmp_path / "mine.toml")
    assert "survey_rules" in refused.value.advice


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadProfile):
        read_survey_rules(tmp_path / "none.toml")
