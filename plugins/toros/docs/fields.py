"""The fields of a validated model - parameters of a step, a table of a data file - as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from toros.docs.docstrings import attribute_docs
from toros.docs.markdown import code, codes, prose, table

Schema = Mapping[str, Any]

LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "of {} or more characters",
    "maxLength": "of at most {} characters",
    "pattern": "matching {}",
}
"""How the limits of a JSON schema are put into words."""

NAMES = {"null": "nothing", "object": "table"}
"""JSON types whose name says little to those who write TOML."""


def field_table(model: type[BaseModel]) -> str:
    """Write what may be given: name, type with its limits, default, meaning."""
    schema = model.model_json_schema()
    meanings = attribute_docs(model)
    rows = []
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in schema.get("required", ()) else _default(field)
        meaning = model.model_fields[name].description or meanings.get(name, "")
        rows.append((code(name), type_in_words(field, schema.get("$defs", {})), default, prose(meaning)))
    return table(("name", "type", "default", "meaning"), rows)


def type_in_words(field: Schema, definitions: Schema) -> str:
    """Put the JSON schema of one field into words (Markdown)."""
    match field:
        case {"anyOf": alternatives}:
            return " or ".join(type_in_words(one, definitions) for one in alternatives)
        case {"$ref": reference}:
            name = str(reference).rpartition("/")[2]
            return type_in_words(definitions[name], definitions)
        case {"enum": values}:
            return codes(map(json.dumps, values), " or ")
        case {"const": value}:
            return code(json.dumps(value))
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(type_in_words(one, definitions) for one in items)}]"
        case {"type": "array", "items": items}:
            return f"list of {type_in_words(items, definitions)}"
        case {"type": "object", "properties": _, "title": title}:
            return code(title)
        case {"type": "object", "additionalProperties": {"type": _} as values}:
            return f"table of {type_in_words(values, definitions)}"
        case {"format": "regex"}:
            return "regular expression"
    limits = [phrase.format(prose(str(field[key]))) for key, phrase in LIMITS.items() if key in field]
    kind = str(field.get("type", "anything"))
    return " ".join((NAMES.get(kind, kind), *limits))


def _default(field: Schema) -> str:
    match field:
        case {"default": dict(), "$ref": _}:
            return "the defaults of its fields"
        case {"default": value} if value is not None:
            return code(json.dumps(value, ensure_ascii=False))
    return "nothing"
