"""Take the points of a finished model to where other labels put them, without training.

``recipes.point_map`` fits the map.  Where the points come straight from a matrix product, as in the embedded models,
the map goes into its weights, so that the file stays as small and as fast; else it follows the network.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from canthus.compression.last_layer import append_matrix, fold_matrix
from canthus.errors import ConfigError, ModelFileError, printable
from canthus.export.onnx_core import finished_model
from canthus.files import write_bytes
from canthus.geometry import Affine
from canthus.lookup import require
from canthus.recipes.config import Progress
from canthus.recipes.held_out import HeldOut, calibrate, load_held_out
from canthus.recipes.point_map import PointFit, PointMap, fit_point_map
from canthus.runtime.cards import ModelCard
from canthus.runtime.sessions import LandmarkSession, find_model, read_model

SEEN = 1024
"""Crops on which rounded weights are fitted, and on which the file is compared with the map."""
LEAST_CALIBRATED = 50
"""Other faces from which on the confidence is calibrated on them."""
MOST_MOVED = 0.25
"""Largest mean distance between the points of the file and those of the map, in pixels of the crop."""


@final
@dataclass(frozen=True)
class AdaptReport:
    """An adapted model beside the one that it was made of.

    Attributes:
        scale: what errors are divided by, in words.
        to: ``dataset/split`` of the labels, and ``faces`` their number.
        left_out: those whose labels are too far from the points to teach the map.
        before: error of the model on them, a fraction.
        held_out: their error by maps that were fitted without them.
        check: ``dataset/split`` of other faces; empty for none.
        checked: errors there before and after.
        moved_px: mean distance between the points of the file and those of the map, in pixels of the crop.
        folded: whether the map is in the last weights of the network.
    """

    path: Path
    scale: str
    to: str
    faces: int
    left_out: int
    before: float
    held_out: float
    check: str
    check_faces: int
    checked: tuple[float, float]
    moved_px: float
    folded: bool
    size_bytes: int

    def describe(self) -> list[str]:
        """Lines of text: errors before and after, and where the map is."""
        fitted = f"{self.to}: {self.faces} faces; {self.before:.2%}, adapted {self.held_out:.2%}"
        lines = [
            f"error over the {self.scale}, true boxes:",
            f"{fitted} (each fifth of the faces by a map that was fitted without it)",
        ]
        if self.check:
            before, after = self.checked
            lines.append(f"{self.check}: {self.check_faces} faces; {before:.2%}, adapted {after:.2%}")
        if self.left_out:
            lines.append(f"{self.left_out} faces have labels too far from the points to teach the map")
        where = "in the last weights of the network" if self.folded else "in a matrix product behind the network"
        lines.append(f"the map is {where}, {self.moved_px:.3f} px of the crop off in the mean")
        return [*lines, f"wrote {self.path} ({self.size_bytes / 1e6:.2f} MB)"]


def adapt_model(
    model: str | Path,
    path: Path,
    *,
    to: str,
    check: str = "",
    symmetric: bool = False,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress = lambda what, done, total: None,
) -> AdaptReport:
    """Write a model whose points lie where the labels of ``to`` put them.

    Faces with a point of unknown position are left out.  With ``check``, the card gets the error there and, where the
    model predicts a spread and there are ``LEAST_CALIBRATED`` faces, a new calibration of the confidence; without, it
    has no errors, and the calibration stays.

    Args:
        model: embedded name or ONNX file, float or int8.
        to: ``dataset/split`` of the labels; a few dozen faces are enough.
        check: ``dataset/split`` of other faces.
        symmetric: fit on each face and its mirror image, so that the points of a mirrored picture stay the mirrored
            points, wherever the labels lie.
        roots: folder of each dataset at hand, by name.

    Raises:
        ConfigError: unknown names, a dataset without a folder, or ``to`` and ``check`` are the same.
        DataError: a dataset is missing or damaged, or has too few faces.
        ModelFileError: not a landmark model of canthus, or no map brings its points closer to the labels.
        OutputError: the file cannot be written.
        MissingExtraError: onnx is not installed.
    """
    onnx = require("onnx", extra="train")
    session, content = _open(model, path, to, check)
    seen = load_held_out(to, session.card, roots, cache, progress, complete=True)
    held = load_held_out(check, session.card, roots, cache, progress, complete=True) if check else None
    crops = seen.crops
    points = session(crops)
    fit = _fit(session, seen, points, symmetric=symmetric)
    before, after = seen.error(points), seen.error(fit.held_out[: len(points)].astype(np.float32))
    if not after < before:
        raise ModelFileError(
            f"No map brings the points of {session.card.name} closer to the labels of {to}: their error is "
            f"{before:.2%}, and {after:.2%} on faces that a map was not fitted on. Nothing was written"
        )
    graph = onnx.load_from_string(content)
    folded = fold_matrix(graph, fit.map.matrix, crops[:SEEN])
    if not folded:
        append_matrix(graph, fit.map.matrix)
    card = replace(_card(session.card, to), name=printable(path.stem))
    adapted = LandmarkSession(finished_model(graph, card), source=path.name)
    moved = _distance(adapted, fit.map, crops[:SEEN], points[:SEEN])
    checked = (math.nan, math.nan)
    if held is not None:
        checked = (held.error(session(held.crops)), held.error(adapted(held.crops)))
        card = _measured(card, adapted, held, checked[1])
    finished = finished_model(graph, card)
    write_bytes(path, finished)
    return AdaptReport(
        path=path, scale=seen.scale, to=to, faces=len(points), left_out=int((~fit.used[: len(points)]).sum()),
        before=before, held_out=after, check=check, check_faces=0 if held is None else len(held.samples),
        checked=checked, moved_px=moved, folded=folded, size_bytes=len(finished),
    )  # fmt: skip


def _open(model: str | Path, path: Path, to: str, check: str) -> tuple[LandmarkSession, bytes]:
    """The model and the content of its file, if it and the options may be used so."""
    if to == check:
        raise ConfigError(f"{to} is given both to adapt to and to check on; check on other faces, or on none")
    if Path(model).suffix == ".npz":
        raise ModelFileError(f"{model}: is a cascade of ferns, expected a network in an ONNX file")
    file = find_model(model)
    if path.exists() and file.samefile(path):
        raise ConfigError(f"{path}: is the model itself; choose another file for the result")
    content = read_model(file)
    return LandmarkSession(content, source=str(model)), content


def _fit(session: LandmarkSession, seen: HeldOut, points: Float32[np.ndarray, "n k 2"], *, symmetric: bool) -> PointFit:
    labels, groups = np.stack([sample.points for sample in seen.samples]), list(seen.groups)
    if symmetric:
        order, flip = list(session.scheme.mirror), Affine.flip(session.card.size)
        points = np.concatenate([points, session(np.ascontiguousarray(seen.crops[:, :, ::-1]))])
        labels = np.concatenate([labels, np.stack([flip.apply(face[order]) for face in labels])])
        groups *= 2
    return fit_point_map(points, labels, groups)


def _distance(
    adapted: LandmarkSession,
    point_map: PointMap,
    crops: UInt8[np.ndarray, "n s s 3"],
    points: Float32[np.ndarray, "n k 2"],
) -> float:
    """Mean distance between the points of the new file and those that it should give."""
    moved: Float64[np.ndarray, "n k"] = np.linalg.norm(adapted(crops) - point_map.points(points), axis=2)
    if not moved.mean() < MOST_MOVED:
        raise ModelFileError(
            f"The points of the file differ from those of the map by {moved.mean():.2g} pixels in the mean; "
            f"{MOST_MOVED} are allowed. Nothing was written"
        )
    return float(moved.mean())


def _card(card: ModelCard, to: str) -> ModelCard:
    """The card without what was measured before, and with the labels among those that the weights learned from."""
    return replace(
        card,
        adapted=to,
        twin=None,
        training_data=tuple(dict.fromkeys((*card.training_data, to.partition("/")[0]))),
        learned_from=tuple(dict.fromkeys((*card.learned_from, to))),
        metrics={},
    )


def _measured(card: ModelCard, adapted: LandmarkSession, held: HeldOut, error: float) -> ModelCard:
    """The card with the error on other faces, and with a calibration on them if there can be one."""
    metrics = {held.metric: round(error, 6)}
    if not adapted.tells_spread or len(held.samples) < LEAST_CALIBRATED:
        return replace(card, metrics=metrics)
    calibration, found = calibrate(adapted, held.samples, held.groups)
    metrics |= {f"{held.name}/{name}": value for name, value in found.items()}
    return replace(card, metrics=metrics, calibration=calibration)
