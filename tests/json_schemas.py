"""Outputs of commands against the schemas that ``docs/schema`` publishes."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "schema"


def schema(name: str) -> dict[str, Any]:
    """A published schema."""
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return read


def closed(part: Any) -> Any:
    """A schema that refuses keys which it does not describe.  The published one lets new keys come."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    shut = {key: closed(value) for key, value in part.items()}
    return {"additionalProperties": False, **shut} if isinstance(part.get("properties"), dict) else shut


def check_schema(name: str, value: Any) -> None:
    """Check a JSON output, already read; no check where jsonschema is not installed.

    A name such as ``detect#picture`` is that of a part of a schema.
    """
    if find_spec("jsonschema") is None:
        return
    import jsonschema

    file, _, part = name.partition("#")
    found = closed(schema(file))
    if part:
        found = {"$defs": found["$defs"], "$ref": f"#/$defs/{part}"}
    jsonschema.Draft202012Validator(found).validate(value)
