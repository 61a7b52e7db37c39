"""Make a set of pictures without faces, on which everything that a face detector finds is false.

Run:    python benchmarks/no_faces.py OUT [--count 200] [--seed 0] [--pictures DIR ...] [--windows NAME=ROOT ...]
        canthus evaluate-detector --dataset facemask --root OUT --split test --detector canthus --out REPORT

OUT gets the layout of the face mask set, with pictures and empty annotations.  Pictures are drawn (documents, charts,
cars, streets, things at home, textures); with --pictures, at most a third of them are photos of these folders, whose
names must not be in NOT_EMPTY; with --windows, a third are windows of the pictures of a labelled set, away from every
labelled face.  Equal seeds and sources give equal pictures.  Photos without faces come with many packages:

        pip download --no-deps scikit-image scikit-learn            # unzip the wheels
        apt-get download mate-backgrounds ukui-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04   # dpkg -x

The drawings share no code with those that detectors are trained with (``canthus.data.backgrounds``).
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from canthus.data.scenes import load_scenes
from canthus.errors import ImageError
from canthus.files import write_text
from canthus.geometry import box_size, shared_areas
from canthus.images import IMAGE_SUFFIXES, read_image, write_image
from canthus.types import Image

WIDTH, HEIGHT = 640, 480
LONGEST = 1280
"""Longer side of photos and windows; larger ones are shrunk."""
LEAST_WINDOW = 160
NOT_EMPTY = ("astronaut.png", "camera.png", "coins.png", "grace_hopper.jpg")
"""Pictures of these packages that show a person, or coins with heads."""
LEAST_SPREAD = 4.0
"""Photos whose pixels have a smaller standard deviation are blank."""
WORDS = ("the", "road", "light", "window", "number", "market", "report", "total", "quiet", "river", "paper", "of")

Canvas = UInt8[np.ndarray, "480 640 3"]
Places = list[tuple[float, float]]


def color(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    """A random colour, with channels from ``low`` to below ``high``."""
    r, g, b = (int(value) for value in rng.integers(low, high, 3))
    return r, g, b


def sentence(rng: np.random.Generator, words: int) -> str:
    """Words in any order."""
    return " ".join(rng.choice(WORDS, words))


def document(image: Canvas, rng: np.random.Generator) -> None:
    """A page with a heading, paragraphs and a table."""
    image[:] = color(rng, 215)
    ink, font, scale = color(rng, 0, 90), int(rng.choice([0, 2, 3, 4])), rng.uniform(0.35, 0.6)
    cv2.putText(image, sentence(rng, 3).title(), (40, 50), font, 2 * scale, ink, 2, cv2.LINE_AA)
    y = 85
    while y < 330:
        for _ in range(rng.integers(2, 6)):
            cv2.putText(image, sentence(rng, int(rng.integers(6, 14))), (40, y), font, scale, ink, 1, cv2.LINE_AA)
            y += int(34 * scale)
        y += 14
    step = int(rng.integers(60, 140))
    for x in range(40, 600, step):
        for top in range(y, 470, 26):
            cv2.rectangle(image, (x, top), (x + step, top + 26), ink, 1)
            cv2.putText(image, f"{rng.integers(1000)}", (x + 6, top + 18), font, 0.4, ink, 1, cv2.LINE_AA)


def pie(image: Canvas, rng: np.random.Generator) -> None:
    """A circle in sectors."""
    image[:] = color(rng, 225)
    turns = np.cumsum(rng.dirichlet(np.ones(6))) * 360
    for start, end in zip([0, *turns], turns, strict=False):
        cv2.ellipse(image, (320, 240), (170, 170), 0, start, end, color(rng), -1, cv2.LINE_AA)


def chart(image: Canvas, rng: np.random.Generator) -> None:
    """Axes with a curve, bars and circles."""
    image[:] = color(rng, 225)
    cv2.line(image, (60, 430), (600, 430), (0, 0, 0), 2)
    cv2.line(image, (60, 40), (60, 430), (0, 0, 0), 2)
    spots = np.stack([np.arange(80, 590, 34), rng.uniform(60, 400, 15)], axis=1).astype(np.int32)
    bars, circles = color(rng, 0, 200), color(rng, 0, 200)
    for number, (x, y) in enumerate(spots.tolist()):
        cv2.putText(image, str(number), (x, 450), 0, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        cv2.rectangle(image, (x - 10, (y + 430) // 2), (x + 10, 430), bars, -1)
        cv2.circle(image, (x, y), int(rng.integers(4, 24)), circles, -1, cv2.LINE_AA)
    cv2.polylines(image, [spots], False, color(rng, 0, 200), 2, cv2.LINE_AA)


def wheel(image: Canvas, rng: np.random.Generator, x: int, y: int, radius: int) -> None:
    """A tyre with a rim and spokes."""
    cv2.circle(image, (x, y), radius, (25, 25, 25), -1, cv2.LINE_AA)
    cv2.circle(image, (x, y), int(0.65 * radius), color(rng, 120, 220), -1, cv2.LINE_AA)
    for angle in np.linspace(0, 2 * np.pi, int(rng.integers(4, 11)))[:-1]:
        end = int(x + 0.6 * radius * np.cos(angle)), int(y + 0.6 * radius * np.sin(angle))
        cv2.line(image, (x, y), end, (60, 60, 60), max(1, radius // 8), cv2.LINE_AA)
    cv2.circle(image, (x, y), max(1, radius // 6), (50, 50, 50), -1, cv2.LINE_AA)


def street(image: Canvas, rng: np.random.Generator) -> None:
    """Sky, fronts of houses with windows and doors, a road."""
    image[:] = color(rng, 140)
    x = 0
    while x < WIDTH:
        width, top = int(rng.integers(90, 230)), int(rng.integers(30, 180))
        cv2.rectangle(image, (x, top), (x + width, 360), color(rng, 60, 230), -1)
        glass, size = color(rng, 20, 200), int(rng.integers(16, 40))
        for wx in range(x + 10, x + width - size, size + int(rng.integers(8, 24))):
            for wy in range(top + 12, 330 - size, size + 18):
                cv2.rectangle(image, (wx, wy), (wx + size, wy + int(1.3 * size)), glass, -1)
        x += width
    cv2.rectangle(image, (0, 360), (WIDTH, HEIGHT), color(rng, 60, 120), -1)


SIDE = ([[0, 0], [0, -45], [40, -55], [75, -95], [165, -95], [205, -50], [240, -42], [240, 0]],
        [[48, -55], [78, -88], [160, -88], [192, -55]])  # fmt: skip
FRONT = ([[0, 0], [0, -60], [25, -110], [125, -110], [150, -60], [150, 0]],
         [[15, -65], [32, -102], [118, -102], [135, -65]])  # fmt: skip
"""Outlines of a car and of its glass."""


def cars(image: Canvas, rng: np.random.Generator) -> None:
    """Cars in a street, from the side and from the front."""
    street(image, rng)
    for _ in range(rng.integers(1, 4)):
        s, x, y = float(rng.uniform(0.4, 1.6)), int(rng.integers(20, 420)), int(rng.integers(330, 430))
        shape = SIDE if rng.random() < 0.6 else FRONT
        for outline, paint in zip(shape, (color(rng), color(rng, 20, 160)), strict=True):
            cv2.fillPoly(image, [(np.array(outline) * s + (x, y)).astype(np.int32)], paint, cv2.LINE_AA)
        if shape is SIDE:
            wheel(image, rng, int(x + 50 * s), y, int(26 * s))
            wheel(image, rng, int(x + 190 * s), y, int(26 * s))
            continue
        holes(image, (x + 75 * s, y - 42 * s), 50 * s, [(-1, 0), (1, 0)], paint=color(rng, 200))
        for bar in (46, 39, 32):
            level = int(y - bar * s)
            cv2.line(image, (int(x + 48 * s), level), (int(x + 102 * s), level), (30, 30, 30), max(1, int(3 * s)))
        corner = int(x + 45 * s), int(y - 4 * s)
        cv2.rectangle(image, corner, (int(x + 105 * s), int(y - 20 * s)), (235, 235, 220), -1)
        cv2.putText(image, f"KX {rng.integers(999)}", corner, 0, 0.45 * s, (20, 20, 20), 1)


def holes(
    image: Canvas, centre: tuple[float, float], radius: float, places: Places, *, paint: tuple[int, int, int]
) -> None:
    """Small discs about a centre; ``places`` are in radii."""
    for x, y in places:
        spot = int(centre[0] + x * radius), int(centre[1] + y * radius)
        cv2.circle(image, spot, max(1, int(radius / 6)), paint, -1, cv2.LINE_AA)


HOLES: tuple[Places, ...] = (
    [(-0.35, 0), (0.35, 0)],
    [(-0.35, 0), (0.35, 0), (0, 0.35)],
    [(-0.3, -0.3), (0.3, -0.3), (-0.3, 0.3), (0.3, 0.3)],
    [(float(x), float(y)) for x, y in zip(np.cos(np.arange(12) / 1.91), np.sin(np.arange(12) / 1.91), strict=True)],
)
"""Holes of sockets and buttons, and the hours of a clock."""


def things(image: Canvas, rng: np.random.Generator) -> None:
    """Sockets, buttons, clocks, wheels and targets before a wall."""
    top, bottom = rng.uniform(60, 235, 2)
    image[:] = np.clip(np.linspace(top, bottom, HEIGHT)[:, None, None] + rng.uniform(-20, 20, 3), 0, 255)
    for _ in range(rng.integers(2, 9)):
        x, y, r = int(rng.integers(40, 600)), int(rng.integers(40, 440)), int(rng.integers(14, 110))
        kind = int(rng.integers(len(HOLES) + 2))
        if kind == len(HOLES):
            wheel(image, rng, x, y, r)
            continue
        cv2.circle(image, (x, y), r, color(rng, 120), -1, cv2.LINE_AA)
        cv2.circle(image, (x, y), r, color(rng, 0, 120), max(1, r // 12), cv2.LINE_AA)
        if kind < len(HOLES):
            holes(image, (x, y), 0.85 * r, HOLES[kind], paint=(25, 25, 25))
            continue
        for inner in range(int(0.8 * r), 2, -max(3, r // 4)):
            cv2.circle(image, (x, y), inner, color(rng), -1, cv2.LINE_AA)


def texture(image: Canvas, rng: np.random.Generator) -> None:
    """Wood, cloth, leaves or stone, from waves and filtered noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    blurred = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)), (0, 0), *rng.uniform(0.8, 12, 2))
    noise = blurred / max(float(np.abs(blurred).max()), 1e-6)
    waves = np.sin((x * rng.uniform(0, 0.3) + y * rng.uniform(0, 0.3)) + 6 * noise * rng.random())
    field = noise if rng.random() < 0.5 else 0.5 * waves + 0.5 * noise
    low, high = (np.array(color(rng), np.float32) for _ in range(2))
    image[:] = low + (high - low) * (field[..., None] + 1) / 2


DRAWINGS: tuple[Callable[[Canvas, np.random.Generator], None], ...] = (document, chart, pie, cars, things, texture)


def drawn(rng: np.random.Generator) -> Iterator[tuple[str, Image]]:
    """Drawings of all kinds in turn, some blurred, dark or noisy as photos are."""
    number = 0
    while True:
        draw, number = DRAWINGS[number % len(DRAWINGS)], number + 1
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        draw(image, rng)
        if rng.random() < 0.4:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2)), np.uint8)
        if rng.random() < 0.4:
            image = np.clip(image * rng.uniform(0.3, 1) + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        yield draw.__name__, image


def shrunk(image: Image) -> Image:
    """The picture with a longer side of ``LONGEST`` at most."""
    scale = LONGEST / max(image.shape[:2])
    return (
        image
        if scale >= 1
        else np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    )


def photos(folders: list[Path], rng: np.random.Generator) -> Iterator[tuple[str, Image]]:
    """Pictures of the folders in any order, without blank ones and those in ``NOT_EMPTY``."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    for path in rng.permutation(np.array(paths, object)):
        if path.name in NOT_EMPTY:
            continue
        try:
            image = shrunk(read_image(path))
        except ImageError as error:
            print(f"left out: {error}")
            continue
        if image.std() >= LEAST_SPREAD and min(image.shape[:2]) >= LEAST_WINDOW:
            yield "photo", image


def windows(sources: list[str], rng: np.random.Generator) -> Iterator[tuple[str, Image]]:
    """Windows of labelled pictures of the test lists that no labelled face comes near."""
    named = [source.partition("=") for source in sources]
    scenes = [scene for name, _, root in named for scene in load_scenes(name, root, "test")]
    for index in rng.permutation(len(scenes)):
        scene = scenes[index]
        if not scene.complete:
            continue
        image, boxes = read_image(scene.path), scene.face_boxes()
        pad = box_size(boxes).max(axis=1, keepdims=True) * np.array([-1, -1, 1, 1], np.float32)
        for _ in range(20):
            width, height = (int(side * rng.uniform(0.35, 1)) for side in image.shape[1::-1])
            x, y = int(rng.integers(image.shape[1] - width + 1)), int(rng.integers(image.shape[0] - height + 1))
            place = np.array([[x, y, x + width, y + height]], np.float32)
            if min(width, height) >= LEAST_WINDOW and not shared_areas(place, boxes + pad).any():
                yield "window", shrunk(np.ascontiguousarray(image[y : y + height, x : x + width]))
                break


def main() -> None:
    """Draw, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, nargs="*", default=[])
    parser.add_argument("--windows", nargs="*", default=[])
    options = parser.parse_args()
    rngs = np.random.default_rng(options.seed).spawn(3)
    third = options.count // 3
    found = [picture for _, picture in zip(range(third), photos(options.pictures, rngs[0]), strict=False)]
    found += [picture for _, picture in zip(range(third), windows(options.windows, rngs[1]), strict=False)]
    found += [picture for _, picture in zip(range(options.count - len(found)), drawn(rngs[2]), strict=False)]
    names = [f"{number:03d}_{kind}" for number, (kind, _) in enumerate(found)]
    for name, (_, image) in zip(names, found, strict=True):
        write_image(options.out / "images" / f"{name}.png", image)
        write_text(options.out / "annotations" / f"{name}.xml", "<annotation></annotation>\n")
    write_text(options.out / "test.txt", "".join(f"{name}.png\n" for name in names))
    counts = {kind: sum(name.endswith(kind) for name in names) for kind in dict.fromkeys(kind for kind, _ in found)}
    print(f"{len(names)} pictures in {options.out}: {', '.join(f'{n} {kind}' for kind, n in counts.items())}")


if __name__ == "__main__":
    main()
