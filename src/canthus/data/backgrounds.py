"""Drawn pictures without faces: texts, shapes, discs, patterns and textures that a detector might take for faces."""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import UInt8

from canthus.types import Image

Drawing = Callable[[Image, np.random.Generator], None]
"""Draws into a picture."""

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;()[]{}<>+-*/=&%@"


def draw_background(
    rng: np.random.Generator, width: int, height: int
) -> UInt8[np.ndarray, "background_h background_w 3"]:
    """A picture of ``width`` x ``height`` pixels with one to three kinds of drawings, over a colour or a texture."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.integers(0, 256, size=3)
    if rng.random() < 0.6:
        _texture(image, rng)
    for draw in rng.choice(len(DRAWINGS), size=rng.integers(1, 4)):
        DRAWINGS[draw](image, rng)
    if rng.random() < 0.3:
        image[:] = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 3.0))
    return image


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    """Any colour, or a colour of skin or wood."""
    if rng.random() < 0.4:
        red = int(rng.integers(60, 256))
        return red, int(red * rng.uniform(0.6, 0.85)), int(red * rng.uniform(0.4, 0.75))
    r, g, b = rng.integers(0, 256, size=3)
    return int(r), int(g), int(b)


def _place(image: Image, rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(image.shape[1])), int(rng.integers(image.shape[0]))


def _texture(image: Image, rng: np.random.Generator) -> None:
    """Noise of several scales, as of clouds, stone, leaves and fabric."""
    height, width = image.shape[:2]
    field = np.zeros((height, width), np.float32)
    for octave in range(2, 8):
        cells = rng.standard_normal((max(2, height >> octave), max(2, width >> octave)), np.float32)
        field += cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC) * rng.uniform(0, 1)
    field = np.sign(field - 0.3) if rng.random() < 0.2 else field / max(float(np.abs(field).max()), 1e-6)
    low, high = np.array(_color(rng), np.float32), np.array(_color(rng), np.float32)
    image[:] = np.clip((low + high) / 2 + field[..., None] * (high - low) / 2, 0, 255)


def _text(image: Image, rng: np.random.Generator) -> None:
    """Lines of text, as of documents, signs and screens."""
    scale, color = rng.uniform(0.2, 1.2), _color(rng)
    step, left = max(6, int(28 * scale * rng.uniform(0.8, 1.6))), int(rng.uniform(0, 0.3) * image.shape[1])
    for y in range(int(rng.integers(step)), image.shape[0] + step, step):
        line = "".join(rng.choice(list(LETTERS + "      "), size=rng.integers(4, 40)))
        cv2.putText(image, line, (left, y), int(rng.integers(8)), scale, color, 1 + int(scale > 0.8), cv2.LINE_AA)


def _shapes(image: Image, rng: np.random.Generator) -> None:
    """Ellipses, rings, rectangles and lines: plates, wheels, buttons, windows."""
    longest = max(image.shape[:2])
    for _ in range(rng.integers(3, 25)):
        kind, color, (x, y) = rng.integers(4), _color(rng), _place(image, rng)
        a, b = (max(1, int(longest * 0.4 * side)) for side in rng.random(2) ** 2)
        thick = -1 if rng.random() < 0.6 else int(rng.integers(1, 5))
        if kind == 0:
            cv2.ellipse(image, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, color, thick, cv2.LINE_AA)
        elif kind == 1:
            for radius in range(a, 0, -max(2, a // 3)):
                cv2.circle(image, (x, y), radius, _color(rng), thick, cv2.LINE_AA)
        elif kind == 2:
            cv2.rectangle(image, (x, y), (x + a, y + b), color, thick)
        else:
            cv2.line(image, (x, y), _place(image, rng), color, int(rng.integers(1, 8)), cv2.LINE_AA)


def _pattern(image: Image, rng: np.random.Generator) -> None:
    """Stripes, checks, or rows of one thing: fabric, tiles, fronts of houses."""
    step = int(rng.integers(6, max(8, min(image.shape[:2]) // 3)))
    size, kind, color = max(1, int(step * rng.uniform(0.2, 0.8))), rng.integers(3), _color(rng)
    for y in range(0, image.shape[0], step):
        for x in range(0, image.shape[1], step):
            if kind == 0:
                cv2.circle(image, (x, y), size // 2, color, -1, cv2.LINE_AA)
            elif kind == 1:
                cv2.rectangle(image, (x, y), (x + size, y + size), color, -1)
            else:
                cv2.line(image, (x, y), (x + step, y + size), color, max(1, size // 4), cv2.LINE_AA)


def _discs(image: Image, rng: np.random.Generator) -> None:
    """Discs with a rim and spokes, ticks or holes: wheels, clocks, sockets, buttons, plates, lamps."""
    for _ in range(rng.integers(1, 9)):
        x, y = _place(image, rng)
        radius = max(4, int(min(image.shape[:2]) * 0.45 * rng.random() ** 2))
        inner, ink = rng.uniform(0.55, 0.95) * radius, _color(rng)
        for r, color in ((radius, _color(rng)), (inner, _color(rng))):
            cv2.circle(image, (x, y), int(r), color, -1, cv2.LINE_AA)
        width, count = max(1, int(radius * rng.uniform(0.04, 0.2))), rng.integers(2, 13)
        near, far = sorted(rng.uniform(0, 1, size=2)) if rng.random() < 0.7 else (0.0, 1.0)
        for angle in rng.uniform(0, 2 * np.pi) + 2 * np.pi / count * np.arange(count):
            way = inner * np.array([np.cos(angle), np.sin(angle)])
            a, b = (tuple(np.rint((x, y) + share * way).astype(int).tolist()) for share in (near, far))
            if far - near < 0.15:
                cv2.circle(image, a, width, ink, -1, cv2.LINE_AA)
            else:
                cv2.line(image, a, b, ink, width, cv2.LINE_AA)
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), width, _color(rng), -1, cv2.LINE_AA)


DRAWINGS: tuple[Drawing, ...] = (_texture, _text, _shapes, _shapes, _pattern, _discs, _discs)
"""Kinds of drawings; shapes and discs, which are taken for faces most often, are twice as frequent as the others."""
