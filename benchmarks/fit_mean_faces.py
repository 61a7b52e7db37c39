"""Make ``src/canthus/data/mean_faces.json``: the mean face of each scheme, with which ``canthus data check`` compares.

    python benchmarks/fit_mean_faces.py --data DIR      # DIR holds 300w/ and wild21/

``ibug_68`` and ``wild_21`` are the means of the faces of ``300w/fit`` and ``wild21/fit``, each turned, scaled and
shifted to fit the mean (generalized Procrustes analysis), and then averaged with the mirror image.  The others are
made from the mean of ``ibug_68``: ``five`` by its conversion, the others by the points of ``FROM_IBUG``.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from canthus.data import load_dataset
from canthus.schemes import AFLW_19, AFLW_21, COFW_29, FIVE, IBUG_68, WFLW_98, WILD_21, Scheme, conversion_matrix

ROUNDS = 10
RIGHT, LEFT = range(36, 42), range(42, 48)
"""Points of the eyes."""


def _between(first: int, last: int) -> list[list[int]]:
    """Points and the middles between them."""
    return [[i // 2, -(-i // 2)] for i in range(2 * first, 2 * last + 1)]


FROM_IBUG: dict[str, list[list[int]]] = {
    WFLW_98.name: [
        *_between(0, 16),
        *([i] for i in (17, 18, 19, 20, 21, 21, 20, 19, 18)),
        *([i] for i in (22, 23, 24, 25, 26, 25, 24, 23, 22)),
        *([i] for i in range(27, 36)),
        [36], [36, 37], [37, 38], [38, 39], [39], [39, 40], [40, 41], [41, 36],
        [42], [42, 43], [43, 44], [44, 45], [45], [45, 46], [46, 47], [47, 42],
        *([i] for i in range(48, 68)),
        [*RIGHT], [*LEFT],
    ],
    COFW_29.name: [
        [17], [26], [21], [22], [19], [19], [24], [24],
        [36], [45], [39], [42], [37, 38], [40, 41], [43, 44], [46, 47],
        [*RIGHT], [*LEFT],
        [31], [35], [30], [33],
        [48], [54], [51], [62], [66], [57], [8],
    ],
    AFLW_21.name: [
        [17], [19], [21], [22], [24], [26],
        [36], [*RIGHT], [39], [42], [*LEFT], [45],
        [1], [31], [30], [35], [15],
        [48], [62, 66], [54], [8],
    ],
}  # fmt: skip
"""Scheme -> for each of its points the points of ``ibug_68`` whose mean it is."""


def mean_of(name: str, root: Path, scheme: Scheme) -> Float64[np.ndarray, "k 2"]:
    """The upright mean face of a set, about its middle, of mean square distance 1."""
    faces = [face.points for face in load_dataset(name, root, "fit") if not np.isnan(face.points).any()]
    shapes = np.stack(faces) @ np.array([1, 1j])
    shapes -= shapes.mean(axis=1, keepdims=True)
    mean = unit(shapes[0])
    for _ in range(ROUNDS):
        gains = (shapes.conj() * mean).sum(axis=1) / (np.abs(shapes) ** 2).sum(axis=1)
        fitted = gains[:, None] * shapes
        fitted /= np.sqrt((np.abs(fitted) ** 2).mean(axis=1, keepdims=True))
        mean = unit(fitted.mean(axis=0))
        right, left = scheme.eye_corners
        mean *= np.abs(mean[left] - mean[right]) / (mean[left] - mean[right])
        mean = unit((mean - mean[list(scheme.mirror)].conj()) / 2)
    return np.stack([mean.real, mean.imag], axis=1)


def unit(shape: np.ndarray) -> np.ndarray:
    """A shape about its middle, of mean square distance 1."""
    shape = shape - shape.mean(axis=0)
    return np.asarray(shape / np.sqrt((np.abs(shape) ** 2).sum() / len(shape)))


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds 300w/ and wild21/")
    parser.add_argument("--out", type=Path, default=Path("src/canthus/data/mean_faces.json"))
    arguments = parser.parse_args()
    ibug = mean_of("300w", arguments.data / "300w", IBUG_68)
    faces = {IBUG_68.name: ibug, WILD_21.name: mean_of("wild21", arguments.data / "wild21", WILD_21)}
    faces[FIVE.name] = unit(conversion_matrix(IBUG_68, FIVE) @ ibug)
    for name, rows in FROM_IBUG.items():
        faces[name] = unit(np.stack([ibug[row].mean(axis=0) for row in rows]))
    faces[AFLW_19.name] = unit(conversion_matrix(AFLW_21, AFLW_19) @ faces[AFLW_21.name])
    made = {
        "made_by": "python benchmarks/fit_mean_faces.py --data DIR",
        "made_from": {IBUG_68.name: "300w/fit", WILD_21.name: "wild21/fit", "the others": "the mean of ibug_68"},
        "faces": {name: np.round(points, 3).tolist() for name, points in faces.items()},
    }
    arguments.out.write_text(json.dumps(made).replace('"faces"', '\n"faces"').replace("]], ", "]],\n") + "\n")


if __name__ == "__main__":
    main()
