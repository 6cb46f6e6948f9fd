"""Nothing that can be run, read, set or stored is missing from the reference."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import fences, headings, in_words, links, rows, sections, tables

import toros
from toros.caveats import LEGEND, Caveat
from toros.cli import app
from toros.config import OPTIONS
from toros.errors import all_errors
from toros.models import Model
from toros.quality.limits import LIMITED, read_limits
from toros.sql import question, sql_folder
from toros.steps.registry import find_steps

PACKAGE = Path(toros.__file__).parent
STEPS = find_steps()
MEASURES = read_limits().measures
ERRORS = {code: error for code, error in all_errors().items() if error.__module__ == "toros.errors"}
STATEMENTS = sorted(path.relative_to(sql_folder()) for path in sql_folder().rglob("*.sql"))
DAG_FILES = sorted((sql_folder().parents[1] / "dags").glob("*.py"))

Reference = dict[str, str]


def names_in(folder: str) -> list[str]:
    """Return the names in the data files of a folder."""
    return [tomllib.loads(path.read_text())["name"] for path in sorted((PACKAGE / folder).glob("*.toml"))]


def commands(group: Any, path: str = "toros") -> dict[str, Any]:
    """Return all commands by how they are called."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found |= (
            commands(command, f"{path} {name}")
            if hasattr(command, "commands")
            else {f"{path} {name}": command}
        )
    return found


COMMANDS = commands(typer.main.get_command(app))


def test_the_index_leads_to_every_page(reference: Reference) -> None:
    assert sorted(links(reference["index"])) == sorted(f"{name}.md" for name in reference if name != "index")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_there_with_what_it_takes_leaves_and_may_be_told(reference: Reference, name: str) -> None:
    step, section = STEPS[name], sections(reference["steps"])[name]
    declared = dict(row for row in rows(section) if len(row) == 2)
    assert in_words(inspect.getdoc(step) or "") in in_words(section.replace("\\", ""))
    assert declared["version"] == step.version
    if step.from_state:
        assert declared["state"] == f"{step.from_state} → {step.to_state}"
    if step.error_state:
        assert declared["on error"] == f"{step.from_state} → {step.error_state}"
    assert declared["takes"].startswith(step.takes.__name__ if step.takes else "no single item")
    assert declared["groups"] == ", ".join(step.groups)
    assert [row[0] for row in rows(section) if len(row) == 4] == list(step.Parameters.model_fields)


@pytest.mark.parametrize("code", [code for code in ERRORS if code != "error"])
def test_an_error_is_there_with_its_meaning_and_its_advice(reference: Reference, code: str) -> None:
    error = ERRORS[code]
    meaning, advice = in_words(inspect.getdoc(error) or ""), in_words(error.default_advice)
    assert [code, error.__name__, meaning, advice] in rows(reference["errors"])
    (tree,) = fences(reference["errors"], "text")
    assert f"─ {error.__name__} ({code})\n" in tree


@pytest.mark.parametrize("caveat", Caveat)
def test_a_caveat_is_there_with_its_meaning(reference: Reference, caveat: Caveat) -> None:
    assert [caveat.value, LEGEND[caveat]] in rows(reference["caveats"])


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_setting_is_there_with_type_default_and_meaning(reference: Reference, option: Any) -> None:
    (row,) = (row for row in rows(reference["settings"]) if row[0] == option.name)
    assert row[1:3] == [option.type, option.default or "empty"]
    assert row[3].startswith(in_words(option.description))
    assert row[4] == (option.example or "")


def test_every_state_is_there_in_its_order(reference: Reference) -> None:
    seed = tomllib.loads((PACKAGE / "models" / "seed" / "states.toml").read_text())["state"]
    expected = [
        [state["name"], str(state["order"]), "error" if state.get("is_error") else ""] for state in seed
    ]
    assert [row[:3] for row in rows(reference["states"])] == sorted(expected, key=lambda row: int(row[1]))


def test_the_states_name_the_steps_that_lead_there_and_away(reference: Reference) -> None:
    entered_and_left = {row[0]: row[3:] for row in rows(reference["states"])}
    for name, step in STEPS.items():
        if step.from_state:
            assert name in entered_and_left[step.from_state][1].split(", ")
            assert name in entered_and_left[step.to_state][0].split(", ")
    # What no declaration tells: exceptions, and new items.
    assert entered_and_left["duplicate"] == ["load", ""]
    assert entered_and_left["arrived"] == ["discover", "load"]
    assert "combine_flat" in entered_and_left["master_rejected"][0]


@pytest.mark.parametrize("name", Model.metadata.tables)
def test_a_table_is_there_with_its_columns_keys_and_rules(reference: Reference, name: str) -> None:
    table, section = Model.metadata.tables[name], sections(reference["tables"])[name]
    columns = {row[0]: row[1:] for row in rows(section) if len(row) == 5}
    assert list(columns) == [column.name for column in table.columns]
    for column in table.columns:
        assert columns[column.name][1] == ("yes" if column.nullable else "no")
        assert ("primary" in columns[column.name][2]) == column.primary_key
        for key in column.foreign_keys:
            assert f"→ {key.column.table.name}" in columns[column.name][2]
    named = {row[0] for row in rows(section) if len(row) == 2}
    rules = {c.name for c in table.constraints if c.name and c.name.startswith(("ck_", "uq_"))}
    assert named == rules | {index.name for index in table.indexes}


def test_columns_mean_what_stands_under_them_in_the_code(reference: Reference) -> None:
    meanings = {
        (name, row[0]): row[4]
        for name, section in sections(reference["tables"]).items()
        for row in rows(section)
        if len(row) == 5
    }
    assert meanings["observatory", "elevation"] == "Metres above sea level."
    assert meanings["pawprint", "exptime"] == "Seconds."  # from a class that it shares with calfile
    assert meanings["mastercal", "set_key"].startswith("The set-up in words, for example Dark|ccd=1|bin=1x1")


def test_the_diagram_of_the_tables_draws_every_foreign_key(reference: Reference) -> None:
    (diagram,) = fences(reference["tables"], "mermaid")
    drawn = re.findall(r'^    (\w+) \S+--\S+ (\w+) : "(\w+)"$', diagram, flags=re.MULTILINE)
    keys = [
        (key.column.table.name, table.name, key.parent.name)
        for table in Model.metadata.tables.values()
        for key in table.foreign_keys
    ]
    assert sorted(drawn) == sorted(keys)
    assert set(re.findall(r"^    (\w+) \{$", diagram, flags=re.MULTILINE)) == set(Model.metadata.tables)


@pytest.mark.parametrize("page", ["cameras", "dialects"])
def test_every_camera_and_dialect_has_a_section_of_its_own(reference: Reference, page: str) -> None:
    names = names_in(f"instruments/{page}")
    overview = tables(reference[page])[0]
    assert sorted(row[0] for row in overview[1:]) == sorted(names)
    assert set(names) < set(headings(reference[page]))


def test_a_camera_shows_what_its_file_says_and_no_more(reference: Reference) -> None:
    section = sections(reference["cameras"])["STA1600LN"]
    said = tomllib.loads((PACKAGE / "instruments" / "cameras" / "sta1600.toml").read_text())
    shown = {row[0]: row[1] for row in rows(section)}
    assert set(shown) == set(said) - {"name", "description"}
    assert float(shown["gain"]) == said["gain"]
    assert shown["match"] == f"INSTRUME matches {said['match'][0]['INSTRUME']}"


def test_a_dialect_shows_its_own_words_and_not_those_that_it_takes_over(reference: Reference) -> None:
    said = tomllib.loads((PACKAGE / "instruments" / "dialects" / "sbig.toml").read_text())
    shown = {row[0]: row[1] for row in rows(sections(reference["dialects"])["sbig"])}
    own_types = {f"image_types.{kind}": ", ".join(words) for kind, words in said["image_types"].items()}
    assert shown.items() >= own_types.items()
    assert set(shown) == {*own_types, *said["quantities"]}


def test_the_calibration_rules_are_there_with_their_comments(reference: Reference) -> None:
    shipped = (PACKAGE / "steps" / "calibration_rules.toml").read_text(encoding="utf-8")
    assert fences(reference["calibration_rules"], "toml") == [shipped]


@pytest.mark.parametrize("name", MEASURES)
def test_a_quality_measure_is_there_with_its_limits_and_its_meaning(reference: Reference, name: str) -> None:
    measure = MEASURES[name]
    common, *_ = tables(reference["quality"])
    (row,) = (row for row in common if row[0] == name)
    assert row[1] == measure.unit
    for colour, shown in zip(LIMITED, row[3:6], strict=True):
        limit = getattr(measure, colour)
        numbers = [] if limit is None else list(limit) if isinstance(limit, tuple) else [limit]
        assert [float(number) for number in shown.split(" to ") if number] == numbers
    assert row[6] == in_words(measure.meaning)


def test_a_camera_with_limits_of_its_own_is_there_with_them(reference: Reference) -> None:
    (section,) = sections(reference["quality"]).values()
    own = {(row[0], row[1]): row[3] for row in rows(section)}
    assert own == {
        (camera, name): f"{measure.yellow:g}"
        for camera, measures in read_limits().cameras.items()
        for name, measure in measures.items()
    }


@pytest.mark.parametrize("statement", STATEMENTS, ids=str)
def test_a_statement_is_there_under_the_question_that_it_answers(
    reference: Reference, statement: Path
) -> None:
    text = (sql_folder() / statement).read_text(encoding="utf-8")
    section = sections(reference["sql"])[statement.with_suffix("").as_posix()]
    (sql,) = fences(section, "sql")
    assert sql.strip()
    assert text.endswith(sql)
    assert in_words(question(text)) in in_words(section.replace("\\", ""))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_there_with_every_argument_and_option(reference: Reference, name: str) -> None:
    command, section = COMMANDS[name], sections(reference["command_line"])[name]
    assert in_words(command.help) in in_words(section.replace("\\", ""))
    shown = [row[:2] for row in rows(section)]
    assert len(shown) == len(command.params)
    for parameter, (called, meaning) in zip(command.params, shown, strict=True):
        assert meaning == in_words(parameter.help)
        if parameter.param_type_name == "option":
            assert set(parameter.opts) <= set(re.split(r"[ ,/]+", called))


@pytest.mark.airflow
@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_a_dag_is_there_with_all_its_tasks(reference: Reference, file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    (dag_id,) = re.findall(r'with DAG\(\s*"(\w+)"', text)
    section = sections(reference["dags"])[dag_id]
    tasks = {
        row[0].removesuffix(" (once per item)").rpartition(".")[2]: row
        for row in rows(section)
        if len(row) == 5
    }
    assert set(tasks) == set(re.findall(r'task_id="(\w+)"', text))
    assert all(row[4] for row in tasks.values()), "a task without doc_md"
    first_line = re.search(r'^DOC = """\n### (.*)', text, flags=re.MULTILINE)
    assert first_line
    assert first_line[1] in headings(section)


@pytest.mark.airflow
def test_the_flowchart_of_a_dag_draws_its_branches_and_groups(reference: Reference) -> None:
    (chart,) = fences(sections(reference["dags"])["toros_survey"], "mermaid")
    number = {name: node for node, name in re.findall(r'(t\d+)\[+"(\w+)"', chart)}
    assert f'{number["image_type"]} -->|"science"| {number["science_frames"]}\n' in chart
    assert f"{number['clean']} --> {number['preprocess']}\n" in chart
    assert 'subgraph g_exposure ["exposure, once per item"]\n' in chart
    assert chart.count("subgraph") == chart.count("    end\n") == 1
