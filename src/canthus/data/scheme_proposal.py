"""Propose a scheme for labelled faces: mirror order, parts of the face, eyes and face box."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Complex128, Float, Float32, Float64

from canthus.data.mean_faces import mean_face, mean_of_faces
from canthus.errors import DataError
from canthus.geometry import box_iou, box_size, hull_box
from canthus.scheme_files import ALL_POINTS, groups_of_names, mirror_of, mirrored_names
from canthus.schemes import IBUG_68, FaceBox, Scheme
from canthus.types import Annotation

Finder: TypeAlias = Callable[[Annotation], Float32[np.ndarray, "68 2"] | None]
"""From a labelled face to its 68 points in pixels, by a model; None where the model does not find the face."""

NEAR = 0.12
"""Largest distance of a point from an eye corner, in units of the mean face (root mean square distance from its
middle), for it to be that corner; an eye is 0.3 wide."""
FAR = 0.5
"""Distance from which a point belongs to no part of the face, and points are no mirror images."""
LEAST_FOUND = 3
"""Faces that the model must find for its points to be used."""
ALIKE = 0.9
"""Overlap (IoU) of hulls and face boxes from which the scheme needs no face box of its own."""
FEW_OF_MOUTH = 8
"""Up to this number of points, the mouth is one group."""
ROUNDS = 10


@final
@dataclass(frozen=True)
class Proposal:
    """A proposed scheme, its mean face, and what to look at before it is used."""

    scheme: Scheme
    mean: Float64[np.ndarray, "k 2"]
    notes: tuple[str, ...]


def propose_scheme(
    name: str, faces: Sequence[Annotation], *, names: Sequence[str] = (), find: Finder = lambda face: None
) -> Proposal:
    """Propose a scheme from a few labelled faces, the more frontal the better.

    The faces are laid onto each other, and points are paired that are mirror images there, unless their names tell.
    Where a model finds the same faces, its 68 points tell the parts of the face, the eye corners and the face box.

    Args:
        name: of the scheme.
        faces: all with the same number of points, of which some may be NaN.
        names: of the points, if they have any.
        find: a model.

    Raises:
        DataError: there are no faces, or a point is nowhere labelled.
    """
    if not faces:
        raise DataError("There are no labelled faces to make a scheme from")
    points = np.stack([face.points for face in faces])
    count, notes = points.shape[1], []
    marks = [find(face) for face in faces]
    found = np.array([found is not None for found in marks], bool)
    known = found.sum() >= LEAST_FOUND
    if known:
        mean, boxes = _on_mean_face(points[found], np.stack([m for m in marks if m is not None]))
    else:
        mean = mean_of_faces(points)
        notes.append(f"a model found {found.sum()} of the {len(faces)} faces, so that the groups are to be filled in")
    if np.isnan(mean).any():
        unseen = np.flatnonzero(np.isnan(mean).any(axis=1)).tolist()
        raise DataError(f"The points {unseen} have a position in no face; label them in at least one")
    pairs, doubts = _pairs(mean, names, upright=bool(known))
    mirror = mirror_of(count, pairs)
    groups = _groups(mean, names, of_face=bool(known))
    corners = _eye_corners(mean, mirror) if known else ()
    scheme = Scheme(
        name=name,
        count=count,
        mirror=mirror,
        groups=groups,
        eye_corners=corners,
        pupils=_pupils(groups, mirror),
        names=tuple(names),
        face_box=_face_box(points[found], boxes) if known else None,
    )
    if not corners:
        notes.append("no outer eye corners: errors will be over the longer side of the face box")
    return Proposal(scheme, mean, (*notes, *doubts))


def _on_mean_face(
    points: Float[np.ndarray, "n k 2"], marks: Float[np.ndarray, "n 68 2"]
) -> tuple[Float64[np.ndarray, "k 2"], Float32[np.ndarray, "n 4"]]:
    """Median place of each point in the frame of the mean face of the 68 points, and the face boxes of the faces."""
    mean = np.asarray(mean_face(IBUG_68.name), np.float64) @ _COMPLEX
    target, source = mean - mean.mean(), marks @ _COMPLEX
    middle = source.mean(axis=1, keepdims=True)
    gain = ((source - middle).conj() * target).sum(axis=1) / (np.abs(source - middle) ** 2).sum(axis=1)
    placed = gain[:, None] * (points @ _COMPLEX - middle)
    return _median(placed), hull_box(marks)


_COMPLEX = np.array([1, 1j])


def _median(placed: Complex128[np.ndarray, "n k"]) -> Float64[np.ndarray, "k 2"]:
    """Median of each point over the faces that have it; NaN where none has it."""
    never = np.isnan(placed).all(axis=0)
    some = np.where(never, 0, placed)
    both = np.stack([np.nanmedian(some.real, axis=0), np.nanmedian(some.imag, axis=0)], axis=1)
    return np.where(never[:, None], np.nan, both)


def _pairs(
    mean: Float64[np.ndarray, "k 2"], names: Sequence[str], *, upright: bool
) -> tuple[list[tuple[int, int]], list[str]]:
    """Mirror images by names or by place, and what is doubtful about them; ``upright`` if the axis is x = 0."""
    placed, cost = _pairs_of_places(mean, upright=upright)
    named = mirrored_names(names)
    if named:
        other = [p for p in placed if p not in named]
        differ = [f"{a} and {b}" for a, b in other if not any({a, b} & {*p} for p in named)]
        return named, [f"the names of {', '.join(differ)} do not tell that they may be mirror images"] if differ else []
    away = cost.diagonal() / 2
    alone = [i for i in range(len(mean)) if away[i] > FAR / 2 and not any(i in pair for pair in placed)]
    doubt = f"points {', '.join(map(str, alone))} have no mirror image and are mirrored onto themselves"
    return placed, [doubt] if alone else []


def _pairs_of_places(
    mean: Float64[np.ndarray, "k 2"], *, upright: bool
) -> tuple[list[tuple[int, int]], Float64[np.ndarray, "k k"]]:
    """Pairs of mirror images, and the distance of each point from the reflection of each.

    Where the axis is not known, it begins upright through the middle, is fitted to the pairs, and so on.
    """
    shape = mean @ _COMPLEX
    middle, turn = 0j if upright else shape.mean(), -1.0 + 0j
    before: list[tuple[int, int]] = []
    for _ in range(ROUNDS):
        cost = np.abs(shape[:, None] - middle - turn * (shape[None] - middle).conj())
        cost = (cost + cost.T) / 2
        nearest = _nearest_pairs(cost)
        if nearest == before:
            break
        before = nearest
        order = np.array(mirror_of(len(mean), nearest))
        fits = cost[np.arange(len(mean)), order] < FAR
        if fits.sum() > 1:  # least squares: mirror image - middle = turn * conj(shape - middle)
            middle = shape[fits].mean()
            fitted = ((shape[order[fits]] - middle) * (shape[fits] - middle)).sum()
            turn = fitted / abs(fitted) if abs(fitted) > 1e-9 else turn
    return nearest, np.asarray(cost, np.float64)


def _nearest_pairs(cost: Float64[np.ndarray, "k k"]) -> list[tuple[int, int]]:
    """Pair what is nearest first; a point that is nearest to its own reflection stays alone."""
    free, pairs = set(range(len(cost))), []
    for a, b in zip(*np.unravel_index(np.argsort(cost, axis=None, kind="stable"), cost.shape), strict=True):
        i, j = sorted((int(a), int(b)))
        if i in free and j in free and cost[i, j] < FAR:
            free -= {i, j}
            if i < j:
                pairs.append((i, j))
    return sorted(pairs)


def _groups(mean: Float64[np.ndarray, "k 2"], names: Sequence[str], *, of_face: bool) -> dict[str, tuple[int, ...]]:
    """Parts of the face by names, or by the nearest of the 68 points."""
    if names and set(groups_of_names(names)) != {"other"}:
        return {group: tuple(_in_line(mean, group, indices)) for group, indices in groups_of_names(names).items()}
    if not of_face:
        return {ALL_POINTS: tuple(range(len(mean)))}
    known = np.asarray(mean_face(IBUG_68.name), np.float64)
    distances = np.linalg.norm(mean[:, None] - known[None], axis=2)
    homes = []
    for row in distances:
        nearest = {group: float(row[list(indices)].min()) for group, indices in IBUG_68.groups.items()}
        home = min(nearest, key=lambda group: nearest[group])
        homes.append(home if nearest[home] < FAR else "other")
    if sum("mouth" in home for home in homes) <= FEW_OF_MOUTH:
        homes = ["mouth" if "mouth" in home else home for home in homes]
    order = dict.fromkeys(["jaw", *IBUG_68.groups, "mouth", "other"])
    members = {group: [i for i, home in enumerate(homes) if home == group] for group in order if group in homes}
    return {group: tuple(_in_line(mean, group, indices)) for group, indices in members.items()}


def _in_line(mean: Float64[np.ndarray, "k 2"], group: str, indices: list[int]) -> list[int]:
    """The points of a group as they are drawn: eyes and mouth around their middle, jaw and brows along x."""
    x, y = (mean[indices] - mean[indices].mean(axis=0)).T
    if group.endswith(("eye", "mouth")) and len(indices) > 3:
        return [indices[place] for place in np.argsort(np.arctan2(y, x), kind="stable")]
    if group in ("jaw", "right_brow", "left_brow"):
        return [indices[place] for place in np.argsort(x, kind="stable")]
    return indices


def _eye_corners(mean: Float64[np.ndarray, "k 2"], mirror: Sequence[int]) -> tuple[int, ...]:
    known = np.asarray(mean_face(IBUG_68.name), np.float64)[list(IBUG_68.eye_corners)]
    distances = np.linalg.norm(mean[:, None] - known[None], axis=2)
    right, left = (int(index) for index in distances.argmin(axis=0))
    near = distances[right, 0] < NEAR and distances[left, 1] < NEAR and right != left
    return (right, left) if near and mirror[right] == left else ()


def _pupils(groups: dict[str, tuple[int, ...]], mirror: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """All points of each eye, whose mean is about its middle, if the eyes are mirror images."""
    right, left = groups.get("right_eye", ()), groups.get("left_eye", ())
    alike = sorted(mirror[i] for i in right) == sorted(left)
    return (right, left) if right and alike else ()


def _face_box(points: Float[np.ndarray, "n k 2"], boxes: Float32[np.ndarray, "n 4"]) -> FaceBox | None:
    """The median place and size of the face box in longer sides of the hull; None where the hull is about that box."""
    hulls = hull_box(points)
    longer = box_size(hulls).max(axis=1, keepdims=True)
    if float(np.median(longer)) < 1:
        return None
    if np.median([box_iou(a[None], b[None])[0, 0] for a, b in zip(hulls, boxes, strict=True)]) > ALIKE:
        return None
    shifts = (boxes[:, :2] + boxes[:, 2:] - hulls[:, :2] - hulls[:, 2:]) / 2 / longer
    sizes = box_size(boxes) / longer
    (_, down), (wide, high) = (np.median(values, axis=0).tolist() for values in (shifts, sizes))
    return FaceBox(shift=(0.0, round(down, 2)), size=(round(wide, 2), round(high, 2)))
