"""Batches carry what augmentation knows of each point."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from canthus.data.packs import CropPack
from canthus.data.synthetic import draw_face
from canthus.data.transforms import Augmentation, View, lost_view, plain_view
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


def test_crops_in_which_points_cannot_be_found_teach_no_points() -> None:
    some = batch(lost=0.4, cover=0.5)
    assert set(some.weights.tolist()) == {0.0, 1.0}
    lost, plain = some.weights == 0, batch(cover=0.5)
    assert lost.sum() > 1
    away = torch.linalg.vector_norm(some.points - plain.points, dim=2).mean(dim=1)
    assert (away[lost] > 0.2).all(), "points lie elsewhere than in a usual crop"
    assert some.visible[lost].all(), "no cover is drawn over them"
    assert torch.isfinite(some.points).all()


def test_a_lost_face_is_turned_far_off_or_seen_in_part() -> None:
    face, view = draw_face(np.random.default_rng(0), size=192), View(size=112, margin=1.3, pack_margin=1.8)
    usual = plain_view(face, view)
    eyes = np.subtract(*usual.points[[36, 45]])
    kinds = []
    for seed in range(60):
        seen = lost_view(face, np.random.default_rng(seed), view)
        assert seen.lost
        own = np.subtract(*seen.points[[36, 45]])
        ratio = np.linalg.norm(own) / np.linalg.norm(eyes)
        angle = np.arccos(np.clip(own @ eyes / (np.linalg.norm(own) * np.linalg.norm(eyes)), -1, 1))
        moved = np.linalg.norm(seen.points.mean(axis=0) - usual.points.mean(axis=0)) / 112 * 1.3
        if angle >= np.pi / 4 - 1e-3:
            kinds.append("turned")
        elif ratio > 2.4:
            kinds.append("part")
        elif angle < 1e-3 and ratio < 1.7 and moved > 0.3:
            kinds.append("off")
    assert len(kinds) == 60
    assert min(Counter(kinds).values()) > 8


def test_half_of_the_lost_faces_have_no_black_beyond_the_packed_crop() -> None:
    face, view = draw_face(np.random.default_rng(0), size=192), View(size=112, margin=1.3, pack_margin=1.8)
    white = replace(face, image=np.full_like(face.image, 200))
    images = [lost_view(white, np.random.default_rng(seed), view).image for seed in range(80)]
    whole = sum(bool((image == 200).all()) for image in images)
    assert 40 < whole < 75, "the others reach beyond the packed crop, and are black there"
