"""The pages of the reference hang together, are the same wherever they are written, and harm nobody's files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PARSER, anchors, fences, links, rows, sections, tables
from typer.testing import CliRunner

from toros.cli import app
from toros.config import load_settings
from toros.docs.cameras import cameras_page
from toros.docs.dags import dags_page, parse_dags
from toros.docs.flowchart import flowchart
from toros.docs.page import MARK
from toros.docs.quality import quality_page
from toros.docs.reference import write_reference
from toros.docs.states import states_page
from toros.docs.steps import steps_page
from toros.errors import AirflowFailed, Misconfigured
from toros.instruments import load_profiles
from toros.steps.registry import find_steps

Reference = dict[str, str]


def test_every_link_leads_to_a_page_and_a_place_that_are_there(reference: Reference) -> None:
    found = [(name, link) for name, text in reference.items() for link in links(text)]
    places = {f"{name}.md" for name in reference} | {
        f"{name}.md#{anchor}" for name, text in reference.items() for anchor in anchors(text)
    }
    assert len(found) > len(reference)
    assert [(name, link) for name, link in found if link not in places] == []


def test_no_two_places_of_a_page_have_the_same_name(reference: Reference) -> None:
    for text in reference.values():
        names = anchors(text)
        assert sorted(names) == sorted(set(names))


def test_no_table_is_torn(reference: Reference) -> None:
    """Every line that begins with a bar is a row, with as many cells as its header."""
    for name, text in reference.items():
        lines = [t.map[1] - t.map[0] for t in PARSER.parse(text) if t.type == "table_open" and t.map]
        prose = text
        for language in ("toml", "sql", "text", "mermaid", "sh"):
            for fence in fences(text, language):
                prose = prose.replace(fence, "")
        assert sum(lines) == sum(line.startswith("|") for line in prose.splitlines()), name
        for table in tables(text):
            assert {len(row) for row in table} == {len(table[0])}


def test_diagrams_name_only_what_they_have_drawn(reference: Reference) -> None:
    charts = [chart for name in ("dags", "states") for chart in fences(reference[name], "mermaid")]
    for chart in charts:
        drawn = re.findall(r"^ +(\w+)[\[(]", chart, flags=re.MULTILINE)
        assert len(drawn) == len(set(drawn))
        for line in chart.splitlines():
            if "->" in line:
                edge = re.fullmatch(r' +(\w+) (?:-->|-\.->)(?:\|"[^"]*"\|)? (\w+)', line)
                assert edge
                assert set(edge.groups()) <= set(drawn)


@pytest.mark.airflow
def test_another_process_with_other_settings_writes_the_same_bytes(
    reference: Reference, tmp_path: Path
) -> None:
    environ = os.environ | {
        "PYTHONHASHSEED": "1",
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "TOROS_INBOX": "/somewhere/else",
        "COLUMNS": "40",
        "TZ": "Asia/Tokyo",
    }
    subprocess.run(
        [sys.executable, "-c", "from toros.cli import main; main()", "docs", "again"],
        env=environ,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    again = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "again").iterdir()}
    assert again == reference
    assert not any(str(Path.home()) in text or str(tmp_path) in text for text in again.values())


# ----------------------------------------------------------------------------------------- what is written


@pytest.fixture
def without_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that has no Airflow: nothing needs to be parsed."""
    monkeypatch.setitem(sys.modules, "airflow", None)


@pytest.mark.usefixtures("without_airflow")
def test_where_there_is_no_airflow_the_page_of_the_dags_says_so() -> None:
    assert "Airflow is not installed where these pages were written" in dags_page(()).text


@pytest.mark.usefixtures("without_airflow")
def test_pages_of_an_earlier_version_go_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "bygone.md").write_text(f"{MARK}\n\n# Bygone\n")
    (tmp_path / "steps.md").write_text(f"{MARK}\n\n# Steps of yesterday\n")
    (tmp_path / "notes.md").write_text("# My notes\n")
    result = CliRunner().invoke(app, ["docs", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "bygone.md").exists()
    assert "yesterday" not in (tmp_path / "steps.md").read_text()
    assert (tmp_path / "notes.md").read_text() == "# My notes\n"
    assert f"{len(list(tmp_path.iterdir())) - 1} pages written; begin with index.md" in result.stdout


@pytest.mark.usefixtures("without_airflow")
def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# My own index\n")
    with pytest.raises(Misconfigured, match=r"index\.md was not written by this command"):
        write_reference(tmp_path, load_settings({}))
    assert [path.name for path in tmp_path.iterdir()] == ["index.md"]
    assert (tmp_path / "index.md").read_text() == "# My own index\n"


# ------------------------------------------------------------------------------------ an observatory's own


def test_steps_of_ones_own_are_there_with_their_states() -> None:
    steps = find_steps(("cloud_steps",))
    section = sections(steps_page(steps).text)["find_clouds"]
    assert "Find clouds \\| and haze.\n" in section
    declared = dict(row for row in rows(section) if len(row) == 2)
    assert declared["version"] == "1|2"
    assert declared["state"] == "preprocessed_data → clear_sky"
    assert declared["by exception"] == "preprocessed_data → cloudy_sky"
    assert ["limit", "number > 0", "0.3", "Magnitudes of extinction | more is a cloud."] in rows(section)
    states = {row[0]: row[1:] for row in rows(states_page(steps).text)}
    assert states["clear_sky"] == ["", "not in every database", "find_clouds", ""]
    assert states["cloudy_sky"] == ["", "not in every database", "find_clouds", ""]


def test_a_camera_of_ones_own_may_be_called_anything(tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "odd.toml").write_text(
        "name = 'Odd | *camera* <b>'\nmatch = [{ INSTRUME = '^(a|b)`c_\\b' }]\nby_size = true\n"
    )
    text = cameras_page(load_profiles((tmp_path,)).cameras).text
    assert tables(text)[0][1][0] == "Odd | *camera* <b>"
    shown = {row[0]: row[1] for row in rows(sections(text)["Odd | *camera* <b>"])}
    assert shown == {"match": "INSTRUME matches ^(a|b)`c_\\b", "by_size": "yes"}
    assert {link.removeprefix("cameras.md#") for link in links(text)} <= set(anchors(text))


def test_limits_of_ones_own_are_those_in_force(tmp_path: Path) -> None:
    own = tmp_path / "quality.toml"
    own.write_text(
        "[measures.moon_glow]\nbad = 'both'\nyellow = [0.9, 1.1]\nmeaning = 'How *uneven* the | sky is.'\n"
        "[cameras.'Odd | *camera*'.fwhm]\nyellow = 2.5\n"
    )
    text = quality_page(own).text
    common, cameras = tables(text)
    assert ["moon_glow", "", "high or low", "0.9 to 1.1", "", "", "How *uneven* the | sky is."] in common
    assert ["Odd | *camera*", "fwhm", "arcsec", "2.5", "8", "15"] in cameras


@pytest.mark.airflow
def test_a_dag_file_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nraise RuntimeError('no such moon')\n")
    with pytest.raises(AirflowFailed, match=r"broken\.py cannot be parsed: .*(\n.*)*no such moon"):
        parse_dags(tmp_path)


def test_groups_within_groups_are_drawn_within_each_other() -> None:
    night = {"group_id": "night", "is_mapped": False}
    field = {"group_id": "night.field", "is_mapped": True}
    tasks = [
        {"task_id": "night.field.align", "is_mapped": False, "groups": [night, field]},
        {"task_id": "night.report", "is_mapped": True, "groups": [night]},
        {"task_id": "end", "is_mapped": False, "groups": []},
    ]
    edges = [{"from": "night.field.align", "to": "end", "label": 'more than 3 "deep" #1'}]
    assert list(flowchart(tasks, edges)) == [
        "flowchart LR",
        '    subgraph g_night ["night"]',
        '        subgraph g_night_field ["night.field, once per item"]',
        '            t0["align"]',
        "        end",
        '        t1[["report"]]',
        "    end",
        '    t2["end"]',
        '    t0 -->|"more than 3 #34;deep#34; #35;1"| t2',
    ]
