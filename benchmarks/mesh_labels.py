"""Label faces by a public network for face meshes, alone or with landmark models and their mirror images.

Run:    python benchmarks/mesh_labels.py DATA --dataset 300w --split fit --out mesh_300w.json [--model FILE.onnx]
        DATA holds the folders 300w and that of the dataset; --model may be repeated
Prints: how far the members, and their mean, are from the labels of 300w/validation and of the split.
Writes: the mean as predictions, which a recipe takes as ``teacher`` of a training set.

The mesh is that of the wheel mediapipe 0.10.21, 478 points of a network that was trained on other photos.  It needs an
environment of its own, with that wheel and canthus without its dependencies: the wheel asks for an older NumPy.

A ridge regression maps the mesh to the 68 points, in the frame of the outer eye corners, from x, y and z of all points.
It is fitted on 300w/fit in four views of each face, and again without views that it misses by more than 8 %.  The faces
of 300w/fit themselves are mapped by five others, each fitted on four fifths of the photos, so that no face gets its own
label back.  Models that learned from these labels would give them back in part: leave them out there.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from canthus.data import load_dataset
from canthus.data.splits import fold_of
from canthus.evaluation.predictions import Prediction, write_predictions
from canthus.geometry import Affine, crop_square
from canthus.images import crop_image, read_image
from canthus.runtime.sessions import LandmarkSession
from canthus.schemes import IBUG_68
from canthus.types import Annotation

VIEWS = ((1.6, 0.0, False), (1.6, 0.0, True), (2.0, 8.0, False), (1.45, -8.0, True))
"""Side of a view in longer sides of the face box, its turn in degrees, and whether it is mirrored."""
SIDE = 256
"""Side of a view in pixels."""
CORNERS = (33, 263)
"""The outer eye corners of the mesh."""
RIDGE = 1.0
"""Weight of the squares of the regression's coefficients for each face, on standardized numbers."""
FOLDS = 5
MOST = 0.08
"""Error above which a view has no part in the fit, or in the mean over views, in inter-ocular distances."""
OTHER = 0.2
"""Error above which a mesh is taken for that of another face."""
MIRROR = list(IBUG_68.mirror)


@dataclass(frozen=True)
class View:
    """One view of one face: its mesh in pixels of the view, and the map from the picture to the view."""

    mesh: Float64[np.ndarray, "478 3"]
    affine: Affine
    mirrored: bool

    def shown(self, points: Float32[np.ndarray, "68 2"]) -> Float64[np.ndarray, "68 2"]:
        """Points of the picture in the view."""
        seen = self.affine.apply(points)
        return np.asarray(Affine.flip(SIDE).apply(seen)[MIRROR] if self.mirrored else seen, np.float64)

    def back(self, points: Float64[np.ndarray, "68 2"]) -> Float32[np.ndarray, "68 2"]:
        """Points of the view in the picture."""
        seen = points.astype(np.float32)
        return self.affine.inverse().apply(Affine.flip(SIDE).apply(seen)[MIRROR] if self.mirrored else seen)


def views_of(faces: Sequence[Annotation]) -> Iterator[list[View]]:
    """The views of each face in which the mesh is found."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    cv2.setNumThreads(1)
    network = FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.1)
    for number, face in enumerate(faces, start=1):
        image, found = read_image(face.path), []
        for margin, degrees, mirrored in VIEWS:
            affine = Affine.turned_crop(crop_square(face.box, margin), SIDE, float(np.radians(degrees)))
            crop = cv2.warpAffine(image, affine.matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
            answer = network.process(np.ascontiguousarray(crop[:, ::-1] if mirrored else crop)).multi_face_landmarks
            if answer:
                mesh = SIDE * np.array([(p.x, p.y, p.z) for p in answer[0].landmark])
                found.append(View(mesh - [0.5, 0.5, 0], affine, mirrored))
        print(f"\r{number} of {len(faces)} meshes", end="\n" if number == len(faces) else "", flush=True)
        yield found


def _frame(mesh: Float64[np.ndarray, "478 3"]) -> tuple[Float64[np.ndarray, "2 2"], Float64[np.ndarray, " 2"], float]:
    """Turn and scale into the frame of the eye corners, its origin, and the distance of the corners."""
    right, left = mesh[CORNERS[0], :2], mesh[CORNERS[1], :2]
    (dx, dy), distance = left - right, float(np.linalg.norm(left - right))
    return np.array([[dx, dy], [-dy, dx]]) / distance**2, (right + left) / 2, distance


class Regression:
    """The linear map from a mesh to 68 points, both in the frame of the eye corners."""

    def __init__(self, pairs: Sequence[tuple[View, Float32[np.ndarray, "68 2"]]]) -> None:
        x = np.stack([self._input(view) for view, _ in pairs])
        frames = [_frame(view.mesh) for view, _ in pairs]
        y = np.stack([
            ((view.shown(truth) - origin) @ turn.T).ravel()
            for (view, truth), (turn, origin, _) in zip(pairs, frames, strict=True)
        ])  # fmt: skip
        kept = np.ones(len(pairs), np.bool_)
        for _ in range(3):
            self._mean, self._scale, self._offset = x[kept].mean(0), x[kept].std(0) + 1e-6, y[kept].mean(0)
            z = (x[kept] - self._mean) / self._scale
            penalty = RIDGE * kept.sum() / 1810 * np.eye(z.shape[1])
            self._weights = np.linalg.solve(z.T @ z + penalty, z.T @ (y[kept] - self._offset))
            missed = ((x - self._mean) / self._scale @ self._weights + self._offset - y).reshape(-1, 68, 2)
            eyes = y.reshape(-1, 68, 2)[:, 36] - y.reshape(-1, 68, 2)[:, 45]
            kept = np.linalg.norm(missed, axis=2).mean(1) / np.linalg.norm(eyes, axis=1) < MOST

    @staticmethod
    def _input(view: View) -> Float64[np.ndarray, " m"]:
        turn, origin, distance = _frame(view.mesh)
        flat = (view.mesh[:, :2] - origin) @ turn.T
        return np.hstack([flat, view.mesh[:, 2:] / distance]).ravel()

    def points(self, views: Sequence[View]) -> Float32[np.ndarray, "68 2"]:
        """Mean of the points over the views of a face that agree with their median, in pixels of the picture."""
        found = []
        for view in views:
            turn, origin, _ = _frame(view.mesh)
            flat = ((self._input(view) - self._mean) / self._scale @ self._weights + self._offset).reshape(68, 2)
            found.append(view.back(flat @ np.linalg.inv(turn).T + origin))
        median = np.median(found, axis=0)
        eyes = np.linalg.norm(median[36] - median[45])
        agree = [one for one in found if np.linalg.norm(one - median, axis=1).mean() < MOST * eyes]
        return np.asarray(np.mean(agree or [median], axis=0), np.float32)


def model_points(session: LandmarkSession, face: Annotation) -> Float32[np.ndarray, "68 2"]:
    """Mean of a model's points in the crop and in its mirror image, in pixels of the picture."""
    size = session.card.size
    crop, affine = crop_image(read_image(face.path), crop_square(face.box, session.card.margin), size)
    plain, mirrored = session(np.stack([crop, crop[:, ::-1]]))
    return affine.inverse().apply((plain + Affine.flip(size).apply(mirrored)[MIRROR]) / 2)


def error(points: Float32[np.ndarray, "n 68 2"], other: Float32[np.ndarray, "n 68 2"]) -> float:
    """Mean distance over the inter-ocular distance of the second, in percent."""
    eyes = np.linalg.norm(other[:, 36] - other[:, 45], axis=1)
    return 100 * float((np.linalg.norm(points - other, axis=2).mean(axis=1) / eyes).mean())


def mean_of_members(
    faces: Sequence[Annotation], meshes: Float32[np.ndarray, "n 68 2"], models: dict[str, LandmarkSession]
) -> Float32[np.ndarray, "n 68 2"]:
    """Mean of mesh and models for each face, without a mesh where none was found; prints how far each is off."""
    members = {"mesh": meshes}
    members |= {name: np.stack([model_points(model, face) for face in faces]) for name, model in models.items()}
    together = np.asarray(np.nanmean(list(members.values()), axis=0), np.float32) if models else meshes
    labels, found = np.stack([face.points for face in faces]), ~np.isnan(meshes[:, 0, 0])
    print(f"{found.sum()} of {len(faces)} meshes; mean distances from the labels of these faces:")
    for name, points in (members | ({"their mean": together} if models else {})).items():
        print(f"  {name}: {error(points[found], labels[found]):.3f} %")
    return together


def main() -> None:
    """Fit the maps, label the faces, and write the predictions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    models = {Path(name).stem: LandmarkSession.open(name) for name in given.model}
    fit, checked = (load_dataset("300w", given.data / "300w", split) for split in ("fit", "validation"))
    seen = list(views_of(fit))
    pairs = [
        (fold_of(face.group, FOLDS), view, face.points) for face, views in zip(fit, seen, strict=True) for view in views
    ]
    whole = Regression([(view, points) for _, view, points in pairs])
    parts = [Regression([(v, points) for fold, v, points in pairs if fold != left_out]) for left_out in range(FOLDS)]

    def mapped(maps: Sequence[Regression], views: Sequence[list[View]]) -> Float32[np.ndarray, "n 68 2"]:
        nothing = np.full((68, 2), np.nan, np.float32)
        return np.stack([own.points(seen) if seen else nothing for own, seen in zip(maps, views, strict=True)])

    print("300w/validation:")
    mean_of_members(checked, mapped([whole] * len(checked), list(views_of(checked))), models)
    if (given.dataset, given.split) == ("300w", "fit"):
        faces, meshes = fit, mapped([parts[fold_of(face.group, FOLDS)] for face in fit], seen)
    else:
        faces = load_dataset(given.dataset, given.data / given.dataset, given.split)
        meshes = mapped([whole] * len(faces), list(views_of(faces)))
    print(f"{given.dataset}/{given.split}:")
    points = mean_of_members(faces, meshes, models)
    labelled = [
        Prediction(face, own, True, face.box, 1.0)
        if error(own[None], face.points[None]) < 100 * OTHER
        else Prediction.missed(face)
        for face, own in zip(faces, points, strict=True)
    ]
    write_predictions(given.out, labelled, boxes="truth")
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
