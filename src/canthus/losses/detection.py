"""Losses of single-stage face detectors, and the assignment of faces to locations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

CENTRE = 1.5
"""A location is assigned to a face if it is within this many strides of the centre of the box, and in the box."""


@final
@dataclass(frozen=True)
class Locations:
    """Locations of a network's predictions, in pixels of the input; edge coordinates.

    Attributes:
        centres: of the cells.
        strides: sides of the cells.
        sizes: smallest and largest face assigned to a cell, longer side in pixels.
    """

    centres: Float[Tensor, "l 2"]
    strides: Float[Tensor, " l"]
    sizes: Float[Tensor, "l 2"]


def locations(
    height: int, width: int, *, strides: Sequence[int], sizes: Sequence[tuple[float, float]], device: torch.device
) -> Locations:
    """Locations of a pyramid in the order of the network's output: level by level, each row by row.

    Height and width of the input are multiples of every stride; ``strides`` and ``sizes`` have one entry per level.
    """
    centres, steps, ranges = [], [], []
    for stride, (least, most) in zip(strides, sizes, strict=True):
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        steps.append(torch.full((rows * columns,), float(stride)))
        ranges.append(torch.tensor([least, most]).expand(rows * columns, 2))
    return Locations(torch.cat(centres).to(device), torch.cat(steps).to(device), torch.cat(ranges).to(device))


def decode_boxes(output: Float[Tensor, "*n l 15"], places: Locations) -> Float[Tensor, "*n l 4"]:
    """Bounding boxes of a network's output, whose format ``models.face_detector`` describes."""
    stride = places.strides[:, None]
    middle = places.centres + output[..., 1:3] * stride
    half = torch.exp(output[..., 3:5]) * stride / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def assign(
    boxes: Float[Tensor, "b m 4"], present: Bool[Tensor, "b m"], places: Locations
) -> tuple[Int[Tensor, "b l"], Bool[Tensor, "b l"]]:
    """Assign to each location the smallest of the faces whose centre is near.

    As in FCOS with centre sampling (Tian et al., 2020), but levels whose sizes overlap share a face.

    Args:
        boxes: bounding boxes, padded to the same number in each picture.
        present: False for rows of ``boxes`` that are padding.

    Returns:
        Index of the face (arbitrary if there is none), and whether the location has one.
    """
    side = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    longer = side.amax(dim=-1)
    offset = (places.centres[None, None] - middle[:, :, None]).abs()
    # The cell of the centre is assigned even a face smaller than itself.
    radius = torch.minimum(CENTRE * places.strides, 0.4 * longer[..., None]).maximum(0.5 * places.strides)
    near = (offset <= radius[..., None]).all(dim=-1)
    fits = (longer[..., None] >= places.sizes[:, 0]) & (longer[..., None] < places.sizes[:, 1])
    claims = near & fits & present[..., None]
    area = side.prod(dim=-1)[..., None].expand(claims.shape)
    smallest, face = torch.where(claims, area, torch.inf).min(dim=1)
    return face, torch.isfinite(smallest)


def quality_focal_loss(
    logits: Float[Tensor, "*n"], quality: Float[Tensor, "*n"], *, focus: float = 2.0
) -> Float[Tensor, "*n"]:
    """Cross entropy against a soft score, weighted by the error of the score.

    Li et al. (2020), "Generalized Focal Loss", eq. 3: |y - s|^beta times the cross entropy of s and y.

    Args:
        logits: logits of the scores s.
        quality: y in [0, 1]; 0 for background.
        focus: beta.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (quality - logits.sigmoid()).abs() ** focus * cross_entropy


def box_overlap(
    predicted: Float[Tensor, "n 4"], truth: Float[Tensor, "n 4"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Intersection over union of pairs of boxes, and their DIoU loss.

    Zheng et al. (2020), "Distance-IoU Loss", eq. 7: 1 - IoU + d^2 / c^2 with the distance d of the centres and the
    diagonal c of the box around both.
    """
    low = torch.maximum(predicted[:, :2], truth[:, :2])
    high = torch.minimum(predicted[:, 2:], truth[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(dim=-1) for box in (predicted, truth)]
    iou = shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)
    around = torch.maximum(predicted[:, 2:], truth[:, 2:]) - torch.minimum(predicted[:, :2], truth[:, :2])
    distance = ((predicted[:, :2] + predicted[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2).square().sum(dim=-1)
    return iou, 1 - iou + distance / around.square().sum(dim=-1).clamp(min=1e-6)


@final
@dataclass(frozen=True)
class DetectionLosses:
    """Mean losses of one batch.

    Attributes:
        score: loss of the scores of all known locations, divided by the number of locations with a face.
        box: DIoU loss of the locations with a face.
        points: smooth L1 distance of the five points, in sides of the box.
    """

    score: Float[Tensor, ""]
    box: Float[Tensor, ""]
    points: Float[Tensor, ""]


def detection_losses(
    output: Float[Tensor, "b l 15"],
    boxes: Float[Tensor, "b m 4"],
    points: Float[Tensor, "b m 5 2"],
    *,
    present: Bool[Tensor, "b m"],
    known: Bool[Tensor, "b l"],
    places: Locations,
) -> DetectionLosses:
    """Score, box and point losses of a batch.

    Args:
        output: output of the network, see ``models.face_detector``.
        boxes: as for ``assign``, in pixels of the input.
        points: points of the scheme ``five`` in edge coordinates; NaN if unknown.
        present: as for ``assign``.
        known: True for locations that are background if they have no face; others without a face are ignored.
    """
    face, answers = assign(boxes, present, places)
    picture, place = answers.nonzero(as_tuple=True)
    chosen = face[picture, place]
    count = max(1, len(place))
    truth = boxes[picture, chosen]
    iou, box_losses = box_overlap(decode_boxes(output, places)[picture, place], truth)
    quality = torch.zeros_like(output[..., 0])
    quality[picture, place] = iou.detach()
    score = quality_focal_loss(output[..., 0], quality)
    stride = places.strides[place]
    side = (truth[:, 2:] - truth[:, :2]).prod(dim=-1).sqrt() / stride
    target = (points[picture, chosen] - places.centres[place][:, None]) / stride[:, None, None]
    labelled = torch.isfinite(target).all(dim=-1)
    off = (output[picture, place, 5:].reshape(-1, 5, 2) - torch.nan_to_num(target)) / side.clamp(min=1e-3)[
        :, None, None
    ]
    off = functional.smooth_l1_loss(off, torch.zeros_like(off), beta=0.05, reduction="none").sum(dim=-1)
    return DetectionLosses(
        score=torch.where(known | answers, score, 0).sum() / count,
        box=box_losses.sum() / count,
        points=(off * labelled).sum() / labelled.sum().clamp(min=1),
    )
