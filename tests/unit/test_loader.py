"""Batches carry what augmentation knows of each point."""

from typing import Any

import numpy as np
import torch

from canthus.data.packs import CropPack
from canthus.data.synthetic import draw_face
from canthus.data.transforms import Augmentation
from canthus.schemes import IBUG_68
from canthus.training.loader import Batch, CropDataset, Draw, PlainDataset, Source


def pack() -> CropPack:
    rng = np.random.default_rng(0)
    faces = [draw_face(rng, size=192) for _ in range(4)]
    images, points = np.stack([f.image for f in faces]), np.stack([f.points for f in faces])
    return CropPack(images, points, IBUG_68, margin=1.8, keys=tuple("abcd"), subsets=("",) * 4)


def batch(**settings: Any) -> Batch:
    data = CropDataset([Source(pack())], Augmentation(**settings), size=112, margin=1.3, seed=0)
    return data.__getitems__([Draw(0, i % 4, 0, i) for i in range(12)])


def test_all_points_are_visible_without_occluders() -> None:
    for plain in (batch(flip=0.5), PlainDataset(pack(), size=112, margin=1.3).__getitems__([0, 1])):
        assert plain.visible.dtype == torch.bool
        assert plain.visible.shape == plain.points.shape[:2]
        assert plain.visible.all()


def test_covered_points_are_not_visible() -> None:
    covered = batch(cover=1.0, cover_most=0.6)
    assert covered.visible.shape == (12, 68)
    assert 0.3 < covered.visible.float().mean() < 0.97
    assert not covered.visible.all(dim=1).all()
