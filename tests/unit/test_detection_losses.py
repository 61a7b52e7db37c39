"""Which location answers for which face, the losses on hand-made answers, and the norms of the network."""

import pytest
import torch
from torch import Tensor, nn

from canthus.losses.detection import (
    Locations,
    assign,
    box_overlap,
    decode_boxes,
    detection_losses,
    locations,
    quality_focal_loss,
)
from canthus.models.face_detector import DESIGNS, FaceDetector

SIZES = [(0.0, 64.0), (40.0, 144.0), (96.0, 1e5)]


@pytest.fixture
def places() -> Locations:
    return locations(64, 96, strides=(8, 16, 32), sizes=SIZES, device=torch.device("cpu"))


def perfect(boxes: Tensor, points: Tensor, face: Tensor, places: Locations) -> Tensor:
    """Rows that say exactly the assigned faces."""
    stride = places.strides[:, None]
    own = boxes[0][face[0]]
    rows = torch.zeros(1, len(places.strides), 15)
    rows[0, :, 1:3] = ((own[:, :2] + own[:, 2:]) / 2 - places.centres) / stride
    rows[0, :, 3:5] = torch.log((own[:, 2:] - own[:, :2]) / stride)
    rows[0, :, 5:] = ((points[0][face[0]] - places.centres[:, None]) / stride[..., None]).flatten(1)
    return rows


def test_locations_come_level_by_level_row_by_row(places: Locations) -> None:
    assert len(places.centres) == 8 * 12 + 4 * 6 + 2 * 3
    assert places.centres[:2].tolist() == [[4, 4], [12, 4]]
    assert places.centres[12].tolist() == [4, 12]
    assert places.centres[96].tolist() == [8, 8]
    assert places.centres[-1].tolist() == [80, 48]
    assert places.strides[[0, 96, 120]].tolist() == [8, 16, 32]


def test_a_tiny_face_has_the_cell_of_its_centre(places: Locations) -> None:
    boxes = torch.tensor([[[33.0, 17.0, 37.0, 21.0]]])
    face, answers = assign(boxes, torch.ones(1, 1, dtype=torch.bool), places)
    chosen = places.centres[answers[0]]
    assert chosen.tolist() == [[36, 20]]
    assert face[answers].tolist() == [0]


def test_faces_go_to_the_levels_of_their_size_and_the_smaller_one_wins(places: Locations) -> None:
    large, small = [0.0, 0.0, 96.0, 64.0], [40.0, 24.0, 60.0, 44.0]
    boxes = torch.tensor([[large, small]])
    face, answers = assign(boxes, torch.ones(1, 2, dtype=torch.bool), places)
    by_face = [set(places.strides[answers[0] & (face[0] == i)].tolist()) for i in (0, 1)]
    assert by_face == [{16.0, 32.0}, {8.0}]
    both = torch.tensor([[small, [30.0, 14.0, 70.0, 54.0]]])
    face, answers = assign(both, torch.ones(1, 2, dtype=torch.bool), places)
    contested = (places.strides == 8) & (places.centres - torch.tensor([52.0, 36.0])).abs().amax(1).le(0.1)
    assert face[0][contested].tolist() == [0]


def test_padding_claims_nothing(places: Locations) -> None:
    boxes = torch.tensor([[[10.0, 10.0, 40.0, 40.0]]])
    _, answers = assign(boxes, torch.zeros(1, 1, dtype=torch.bool), places)
    assert not answers.any()


def test_right_answers_cost_nothing_but_their_scores(places: Locations) -> None:
    boxes = torch.tensor([[[10.0, 10.0, 40.0, 50.0], [60.0, 8.0, 70.0, 20.0]]])
    points = boxes[:, :, None, :2] + torch.rand(1, 2, 5, 2) * 10
    present = torch.ones(1, 2, dtype=torch.bool)
    face, answers = assign(boxes, present, places)
    rows = perfect(boxes, points, face, places)
    assert torch.allclose(decode_boxes(rows, places)[answers], boxes[0][face[answers]], atol=1e-4)
    rows[..., 0] = torch.where(answers, 12.0, -12.0)
    known = torch.ones_like(answers)
    losses = detection_losses(rows, boxes, points, present=present, known=known, places=places)
    assert losses.box.item() == pytest.approx(0, abs=1e-5)
    assert losses.points.item() == pytest.approx(0, abs=1e-5)
    assert losses.score.item() == pytest.approx(0, abs=1e-4)
    rows[..., 0] = -rows[..., 0]
    wrong = detection_losses(rows, boxes, points, present=present, known=known, places=places)
    assert wrong.score > 10


def test_unknown_surroundings_are_no_background(places: Locations) -> None:
    boxes = torch.tensor([[[10.0, 10.0, 40.0, 50.0]]])
    points = torch.full((1, 1, 5, 2), torch.nan)
    present = torch.ones(1, 1, dtype=torch.bool)
    face, answers = assign(boxes, present, places)
    rows = perfect(boxes, torch.zeros(1, 1, 5, 2), face, places)
    rows[..., 0] = 12.0
    losses = [
        detection_losses(rows, boxes, points, present=present, known=known, places=places)
        for known in (torch.zeros_like(answers), torch.ones_like(answers))
    ]
    assert losses[0].score.item() == pytest.approx(0, abs=1e-4)
    assert losses[1].score > 10
    assert losses[0].points.item() == 0  # unknown points cost nothing


def test_a_picture_without_faces_still_teaches_background(places: Locations) -> None:
    rows = torch.zeros(1, len(places.strides), 15, requires_grad=True)
    losses = detection_losses(
        rows,
        torch.zeros(1, 1, 4),
        torch.full((1, 1, 5, 2), torch.nan),
        present=torch.zeros(1, 1, dtype=torch.bool),
        known=torch.ones(1, len(places.strides), dtype=torch.bool),
        places=places,
    )
    torch.autograd.backward(losses.score + losses.box + losses.points)
    assert rows.grad is not None
    assert (rows.grad[..., 0] > 0).all()
    assert (rows.grad[..., 1:] == 0).all()


def test_overlap_of_known_boxes() -> None:
    # Two 10 x 10 boxes, 5 apart: intersection 50, union 150; d^2 = 25, c^2 = 15^2 + 10^2.
    iou, loss = box_overlap(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]]))
    assert iou.item() == pytest.approx(1 / 3)
    assert loss.item() == pytest.approx(1 - 1 / 3 + 25 / 325)


def test_quality_focal_loss_is_the_papers_equation() -> None:
    logit, quality = torch.tensor([0.4]), torch.tensor([0.7])
    score = torch.sigmoid(logit)
    expected = (quality - score).abs() ** 2 * -((1 - quality) * torch.log(1 - score) + quality * torch.log(score))
    assert quality_focal_loss(logit, quality).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_levels_that_share_weights_are_normalized_alike_in_training_and_after(design: str) -> None:
    torch.manual_seed(0)
    network = FaceDetector(design=design)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # the mean and variance of the last batch
    pictures = torch.rand(2, 3, 256, 256) ** torch.linspace(0.3, 3, 256)
    trained = network.train()(pictures)
    # Training divides by n, the kept variance by n - 1; the coarsest level has 128 values.
    torch.testing.assert_close(network.eval()(pictures), trained, rtol=0, atol=0.02)


def test_weights_with_one_norm_for_all_levels_can_still_be_read() -> None:
    network, again = FaceDetector(design="fast"), FaceDetector(design="fast")
    mean = network.get_buffer("context.1.1.running_mean")
    nn.init.normal_(mean)
    again.load_state_dict({name: v for name, v in network.state_dict().items() if not name.startswith("norms")})
    for level in ("norms.0", "norms.1"):
        torch.testing.assert_close(again.get_buffer(f"{level}.running_mean"), mean)
    assert sum(weights.numel() for weights in again.parameters()) == 158_231
