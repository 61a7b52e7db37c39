"""Cards of the three kinds of model files: read, or refused in one line."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canthus.cli.main import main
from canthus.errors import ModelFileError
from canthus.plain_data import to_values
from canthus.runtime.cards import ModelCard
from canthus.runtime.landmarker import open_model
from canthus.runtime.sessions import DetectorSession
from canthus.schemes import Scheme
from small_networks import cascade_with_card, small_card, with_card, write_small_landmarker
from tiny_detectors import tiny_detector_card, write_tiny_detector


def landmarks_with_card(path: Path, card: bytes) -> Path:
    return with_card(write_small_landmarker(path, tells_spread=True), card)


def detector_with_card(path: Path, card: bytes) -> Path:
    return with_card(write_tiny_detector(path), card)


LANDMARK_CARD = json.loads(small_card(calibrated=True).to_json())
CASCADE_CARD = json.loads(small_card().to_json())
DETECTOR_CARD = json.loads(tiny_detector_card().to_json())
KINDS: dict[str, tuple[str, dict[str, Any], Callable[[Path, bytes], Path]]] = {
    "landmarks": ("m.onnx", LANDMARK_CARD, landmarks_with_card),
    "detector": ("m.onnx", DETECTOR_CARD, detector_with_card),
    "cascade": ("m.npz", CASCADE_CARD, cascade_with_card),
}
EVERY = tuple(KINDS)
LANDMARKS = ("landmarks", "cascade")
NETWORKS = ("landmarks", "detector")

BAD_FIELDS: list[tuple[str, str, tuple[str, ...], str]] = [
    ("margin", "0", LANDMARKS, "margin is 0; expected 0.1 to 100"),
    ("margin", "-1", LANDMARKS, "margin is -1; expected 0.1 to 100"),
    ("margin", "1e-30", LANDMARKS, "margin is 1e-30; expected"),
    ("margin", "null", LANDMARKS, "'margin' must be a number, not None"),
    ("margin", '"x"', LANDMARKS, "'margin' must be a number, not 'x'"),
    ("margin", "true", LANDMARKS, "'margin' must be a number, not True"),
    ("margin", "Infinity", LANDMARKS, "Infinity is no number of JSON"),
    ("margin", "NaN", LANDMARKS, "NaN is no number of JSON"),
    ("margin", "1e999", LANDMARKS, "margin is inf; expected a finite number"),
    ("margin", "1" + 400 * "0", LANDMARKS, "'margin' must be a number below 1e308, not 1000"),
    ("margin", "1" + 5000 * "0", LANDMARKS, "is not JSON"),
    ("size", "32.0", EVERY, "'size' must be a whole number, not 32.0"),
    ("size", "30000", EVERY, "size is 30000; expected 1 to"),
    ("size", "0", EVERY, "size is 0; expected 1 to"),
    ("size", "-32", EVERY, "size is -32; expected 1 to"),
    ("size", "null", EVERY, "'size' must be a whole number, not None"),
    ("size", "[32]", EVERY, r"'size' must be a whole number, not \[32\]"),
    ("size", "1" + 400 * "0", EVERY, "size is 1000"),
    ("scheme", "5", LANDMARKS, "'scheme' must be text, not 5"),
    ("scheme", '["ibug_68"]', LANDMARKS, r"'scheme' must be text, not \['ibug_68'\]"),
    ("scheme", "{}", LANDMARKS, "'scheme' must be text, not {}"),
    ("scheme", '"ibug_67"', LANDMARKS, "Unknown scheme 'ibug_67'. Did you mean 'ibug_68'"),
    ("scheme", json.dumps("x" * 900_000), LANDMARKS, "Unknown scheme 'xxx"),
    ("metrics", "null", EVERY, "'metrics' must be a table, not None"),
    ("metrics", "[1]", EVERY, r"'metrics' must be a table, not \[1\]"),
    ("metrics", '{"a": null}', EVERY, "'metrics.a' must be a number, not None"),
    ("metrics", '{"a": NaN}', EVERY, "NaN is no number of JSON"),
    ("metrics", '{"a": 1e999}', EVERY, "metrics.a is inf; expected a finite number"),
    ("training_data", "null", EVERY, "'training_data' must be a list, not None"),
    ("training_data", '"300w"', EVERY, "'training_data' must be a list, not '300w'"),
    ("training_data", "[1]", EVERY, "'training_data.0' must be text, not 1"),
    ("licence", "null", EVERY, "'licence' must be text, not None"),
    ("licence", "7", EVERY, "'licence' must be text, not 7"),
    ("name", "[]", EVERY, r"'name' must be text, not \[\]"),
    ("recipe", "null", EVERY, "'recipe' must be text, not None"),
    ("architecture", "0.5", EVERY, "'architecture' must be text, not 0.5"),
    ("kind", "[]", EVERY, r"of the unknown kind \[\]"),
    ("kind", "{}", EVERY, "of the unknown kind {}"),
    ("kind", "null", EVERY, "of the unknown kind None"),
    ("parameters", "-1", EVERY, "parameters is -1; expected 0 to 1e"),
    ("parameters", "1" + 400 * "0", EVERY, "parameters is 1000"),
    ("multiply_adds", "1.5", EVERY, "'multiply_adds' must be a whole number, not 1.5"),
    ("calibration", "5", LANDMARKS, "'calibration' must be a table, not 5"),
    ("calibration", '{"tolerance": 0, "slope": 1, "offset": 0}', LANDMARKS, "tolerance is 0; expected above 0"),
    ("calibration", '{"tolerance": 1, "slope": -1, "offset": 0}', LANDMARKS, "slope is -1; expected above 0"),
    ("calibration", '{"tolerance": 1, "slope": 1, "offset": 1e999}', LANDMARKS, "offset is inf; expected a finite"),
    ("calibration", '{"tolerance": 1, "slope": 1}', LANDMARKS, "Missing: calibration.offset"),
    ("quantization", '"int8"', LANDMARKS, "'quantization' must be a table, not 'int8'"),
    ("score", "2", ("detector",), "score is 2; expected 0 to 1"),
    ("score", "null", ("detector",), "'score' must be a number, not None"),
    ("strides", "[]", ("detector",), "There are 0 strides; expected 1 to 16"),
    ("strides", "[0]", ("detector",), "strides.0 is 0; expected 1 to 1024"),
    ("strides", "[1000000000]", ("detector",), r"strides.0 is 1e\+09; expected 1 to 1024"),
    ("strides", "[8.5]", ("detector",), "'strides.0' must be a whole number, not 8.5"),
    ("strides", json.dumps([8] * 1000), ("detector",), "There are 1000 strides"),
    ("extra", "1", EVERY, "Unknown field 'extra'"),
    ("x" * 900_000, "1", EVERY, "Unknown field 'xxx"),
]
BAD_TEXTS: list[tuple[str, bytes, tuple[str, ...], str]] = [
    ("nothing", b"", EVERY, "is not JSON|no model card"),
    ("no JSON", b"{", EVERY, "the model card is not JSON"),
    ("a list", b"[]", EVERY, "the model card is not a JSON object"),
    ("a number", b"5", EVERY, "the model card is not a JSON object"),
    ("null", b"null", EVERY, "the model card is not a JSON object"),
    ("an empty table", b"{}", EVERY, "Missing: name|is a landmark model"),
    ("no UTF-8", b'{"name": "\xff\xfe"}', NETWORKS, "not UTF-8|is no ONNX model"),
    ("surrogates", b'{"name": "\xff\xfe"}', ("cascade",), "Missing: architecture"),
    ("lists 100,000 deep", b"[" * 100_000, EVERY, "is nested too deep to be read"),
    ("tables 100,000 deep", b'{"a":' * 100_000, EVERY, "is nested too deep to be read"),
    ("a deep field", b'{"size":' + b"[" * 300 + b"]" * 300 + b"}", EVERY, "is nested too deep to be read"),
    ("very long", b" " * 1_000_001, EVERY, "has 1000001 characters, expected 1000000 at most"),
]


def with_field(card: Mapping[str, Any], name: str, value: str) -> bytes:
    """The card with a field of this JSON text."""
    rest = json.dumps({key: entry for key, entry in card.items() if key != name})
    return f"{rest[:-1]}, {json.dumps(name)}: {value}}}".encode()


CARD_CASES = [
    pytest.param(kind, with_field(KINDS[kind][1], name, value), reason, id=f"{kind}: {name[:20]} {value[:30]}")
    for name, value, kinds, reason in BAD_FIELDS
    for kind in kinds
] + [
    pytest.param(kind, text, reason, id=f"{kind}: {name}") for name, text, kinds, reason in BAD_TEXTS for kind in kinds
]


@pytest.mark.parametrize(("kind", "card", "reason"), CARD_CASES)
def test_bad_cards_are_refused_in_one_line(kind: str, card: bytes, reason: str, tmp_path: Path) -> None:
    name, _, write = KINDS[kind]
    path = write(tmp_path / name, card)
    with pytest.raises(ModelFileError, match=reason) as caught:
        DetectorSession.open(path) if kind == "detector" else open_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 1500


@pytest.mark.parametrize("kind", KINDS)
def test_good_cards_are_read(kind: str, tmp_path: Path) -> None:
    name, card, write = KINDS[kind]
    path = write(tmp_path / name, json.dumps(card).encode())
    read = (DetectorSession.open(path) if kind == "detector" else open_model(path)).card
    assert json.loads(read.to_json()) == card


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["canthus", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


OWN = Scheme("mine", 3, (1, 0, 2), {"eyes": (0, 1), "nose": (2,)}, (0, 1), names=("r", "l", "nose"))


def test_a_card_carries_a_scheme_of_ones_own(tmp_path: Path) -> None:
    card = replace(small_card(), scheme="mine", own_scheme=OWN)
    assert ModelCard.from_json(card.to_json(), source="m") == card
    assert card.find_scheme() == OWN
    assert "own_scheme" not in small_card().to_json()  # cards of named schemes do not grow


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scheme": "other"}, "called other, but own_scheme mine"),
        ({"own_scheme": None}, "Unknown scheme 'mine'"),
        ({"own_scheme": to_values(OWN) | {"mirror": [1, 2, 0]}}, "The scheme mine: mirror maps point 0 to 1"),
        ({"own_scheme": to_values(OWN) | {"count": 10**9}}, "expected 1 to 1000 points"),
        ({"own_scheme": to_values(OWN) | {"name": "ibug_68"}, "scheme": "ibug_68"}, "belongs to a scheme of canthus"),
        ({"scheme": "/etc/hosts.toml", "own_scheme": None}, "Unknown scheme '/etc/hosts.toml'"),
    ],
)
def test_wrong_schemes_in_cards_are_refused(change: dict[str, Any], reason: str) -> None:
    values = json.loads(replace(small_card(), scheme="mine", own_scheme=OWN).to_json()) | change
    with pytest.raises(ModelFileError, match=f"m: model card: .*{re.escape(reason)}"):
        ModelCard.from_json(json.dumps(values), source="m")


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_a_card_reach_the_terminal_without_escapes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, card, write = KINDS[kind]
    evil = "\x1b]0;title\x07[red]a\nerror: b\u202e"
    changed = card | {"licence": evil, "recipe": evil, "architecture": evil, "training_data": [evil]}
    path = write(tmp_path / name, json.dumps(changed | {"metrics": {evil: 0.5}}).encode())
    assert run(monkeypatch, "models", path) == 0
    out, err = capsys.readouterr()
    assert "[red]a" in out
    assert "\x1b" not in out + err
    assert "\x07" not in out + err
    assert "\u202e" not in out + err
    assert not any(line.startswith("error:") for line in out.splitlines())
