"""``canthus.js`` in Node, with networks whose answers are given: which finds of the detector are kept."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from canthus.web.page import STATIC

NODE = shutil.which("node")
if NODE is None:
    pytest.skip("Node.js is not installed", allow_module_level=True)

RUN = """
const { Pipeline } = await import(process.argv[1]);
const { scores, bright, minScore, whole, turned } = JSON.parse(process.argv[2]);
class Tensor { constructor(type, data, dims) { Object.assign(this, { data, dims }); } }
let doubted;
const looks = [];
const detector = { inputNames: ["image"], run: async ({ image: { dims: [, height, width] } }) => {
  const rows = new Float32Array(20 * 20 * 15).fill(0);
  for (let cell = 0; cell < 400; cell++) rows[cell * 15] = -20;
  looks.push(height === width && width === 320 ? "turned" : width);
  if (width === 256) { // a closer look, best first: the face is in the middle, with the same score
    const score = doubted.shift();
    rows.set([Math.log(score / (1 - score)), 0.5, 0.5, 0.98, 0.98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], (7 * 16 + 7) * 15);
    return { faces: { data: rows.subarray(0, 256 * 15) } };
  }
  if (height === 320) { // the turned picture: a face in its middle, where the picture has its own
    if (turned) rows.set([2, 0, 0, 1.1, 1.1, -0.5, -0.5, 0.5, -0.5, 0, 0, -0.5, 0.5, 0.5, 0.5], (10 * 20 + 10) * 15);
    return { faces: { data: rows } };
  }
  doubted = scores.filter((score) => score >= 0.3 && score < 0.8);
  scores.forEach((score, face) => {
    const five = [-0.5, -0.5, 0.5, -0.5, 0, 0, -0.5, 0.5, 0.5, 0.5];
    const cell = 42 + 40 * Math.floor(face / 9) + 2 * (face % 9);
    rows.set([Math.log(score / (1 - score)), 0, 0, 0.7, 0.7, ...five], cell * 15);
  });
  return { faces: { data: rows.subarray(0, 300 * 15) } };
} };
const runs = [];
const model = { inputNames: ["image"], run: async ({ image: { data, dims: [n, size] } }) => {
  runs.push(n);
  const points = new Float32Array(n * 68 * 2).map((_, index) => (index % 2 ? index % 7 : index % 5) / 9);
  const light = (face) => data[face * size * size * 3 + 3 * (size / 2) * (size + 1)];
  const spread = new Float32Array(n * 68).map((_, index) => (light(Math.floor(index / 68)) > 127 ? -9 : 9));
  return { points: { data: points }, spread: { data: spread } };
} };
const picture = { width: 320, height: 240, data: new Uint8ClampedArray(320 * 240 * 4).fill(255) };
scores.forEach((_, face) => { // the middle of the face says whether the landmarks call it one
  const [x, y] = [40 + 32 * (face % 9), 40 + 32 * Math.floor(face / 9)];
  for (let at = 320 * (y - 8) + x; at < 320 * (y + 8); at += 320) {
    picture.data.fill(bright[face] ? 255 : 0, 4 * (at - 8), 4 * (at + 8));
  }
});
const face_calibration = whole ? { tolerance: 0.06, slope: 1, offset: 0 } : undefined;
const calibration = { tolerance: 0.05, slope: 1, offset: 0 };
const cards = {
  model: { size: 32, margin: 1.3, calibration, face_calibration }, detector: { size: 320, score: 0.5, strides: [16] },
};
const scheme = { name: "ibug_68", count: 68, groups: { jaw: [0, 1, 2, 3, 4] }, face_box: null };
const pipeline = new Pipeline({ ort: { Tensor }, sessions: { model, detector }, cards, scheme, about: {}, minScore });
const kept = (await pipeline.detect(picture)).faces.map((face) => Number(face.score.toFixed(3)));
const before = looks.length;
const found = (await pipeline.find(picture)).map((face) => Number(face.score.toFixed(3)));
console.log(JSON.stringify({ kept, found, runs, looks: looks.slice(0, before) }));
"""


Keep = Callable[..., Any]


@pytest.fixture
def kept(tmp_path: Path) -> Keep:
    """To the scores that ``detect`` keeps and ``find`` finds, and how many crops each run of the model gets."""
    shutil.copytree(STATIC, tmp_path / "page")
    (tmp_path / "page" / "package.json").write_text('{"type": "module"}', encoding="utf-8")  # for Node before 20.19

    def run(
        scores: list[float],
        bright: list[bool],
        *,
        whole: bool = True,
        min_score: float | None = None,
        turned: bool = False,
    ) -> Any:
        asked = {"scores": scores, "bright": bright, "whole": whole, "turned": turned}
        asked |= {} if min_score is None else {"minScore": min_score}
        module = (tmp_path / "page" / "canthus.js").as_uri()
        command = [str(NODE), "--input-type=module", "-e", RUN, module, json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_weak_finds_are_kept_where_the_landmarks_call_them_faces(kept: Keep) -> None:
    found = kept([0.9, 0.65, 0.45, 0.35, 0.31, 0.25], [True, False, False, True, False, True])
    assert found["kept"] == [0.9, 0.65, 0.35]
    assert found["found"] == [0.9, 0.65]  # a tracker takes these alone
    assert found["runs"] == [5, 7]  # of the doubtful ones, the sure find alone is looked at in other directions


def test_a_weak_find_is_looked_at_again_where_no_better_one_is_called_a_face(kept: Keep) -> None:
    found = kept([0.9, 0.45, 0.4, 0.35], [False, False, True, False])
    assert found["kept"] == [0.9, 0.4]
    assert found["runs"] == [4, 7, 1, 7]


def test_where_no_face_is_found_the_turned_picture_is_looked_at(kept: Keep) -> None:
    found = kept([], [], turned=True)
    assert (found["kept"], found["looks"]) == ([0.881], [320, "turned"])
    assert kept([0.45], [False], turned=True)["kept"] == [0.881]
    assert kept([], [])["kept"] == []
    for scores, bright, rest in (([0.9], [True], {}), ([], [], {"min_score": 0.5}), ([], [], {"whole": False})):
        found = kept(scores, bright, turned=True, **rest)
        assert (found["kept"], found["looks"]) == (scores, [320])


def test_few_doubtful_faces_are_looked_at_in_other_directions(kept: Keep) -> None:
    found = kept([0.9] * 6, [False] * 6)
    assert len(found["kept"]) == 6
    assert found["runs"] == [6, 4 * 7]


def test_a_least_score_of_ones_own_and_a_model_without_confidence_turn_the_rule_off(kept: Keep) -> None:
    scores, bright = [0.9, 0.45, 0.35], [True, True, True]
    assert kept(scores, bright, min_score=0.5)["kept"] == [0.9]
    assert kept(scores, bright, min_score=0.4)["kept"] == [0.9, 0.45]
    assert kept(scores, bright, whole=False)["kept"] == [0.9]
    assert kept([0.9, 0.55], bright[:2], whole=False)["kept"] == [0.9]  # too low where nothing judges it
    assert kept([0.9, 0.55], bright[:2], whole=False, min_score=0.5)["kept"] == [0.9, 0.55]


def test_the_best_weak_finds_are_judged(kept: Keep) -> None:
    scores = [0.9, *(0.49 - 0.01 * index for index in range(12))]
    assert kept(scores, [True] * 13)["kept"] == pytest.approx(scores[:9], abs=0.001)
