"""What the code says about itself."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache


def docstring_of(thing: object) -> str:
    """Return the docstring, without its indentation."""
    return inspect.getdoc(thing) or ""


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the strings that stand under the attributes of a class and of its bases, by name.

    Python does not keep them, so they are read from the source; a class without source has none.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= _own_attribute_docs(base)
    return found


@lru_cache(maxsize=256)
def _own_attribute_docs(cls: type) -> dict[str, str]:
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return {}
    body = ast.parse(textwrap.dedent(source)).body[0]
    if not isinstance(body, ast.ClassDef):
        return {}
    return {
        name: inspect.cleandoc(below.value.value)
        for statement, below in zip(body.body, body.body[1:], strict=False)
        if (name := _assigned_name(statement))
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _assigned_name(statement: ast.stmt) -> str:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""
