"""A network to the format of another runtime, compared with its ONNX file before it is kept."""

import functools
import json
import math
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
from jaxtyping import Float32, UInt8

import canthus
from canthus.data import dataset_root, load_dataset
from canthus.data.packs import PACK_MARGIN, PACK_SIZE, load_crops
from canthus.data.scenes import load_scenes
from canthus.data.synthetic import draw_face
from canthus.data.transforms import View, plain_view
from canthus.errors import ConfigError, ModelFileError
from canthus.evaluation.timing import DETECTOR_PICTURE, latency, time_in_turns
from canthus.export.onnx_core import Core, core_of
from canthus.export.targets import TARGETS, Runner, Target, is_own_package, replace_folder
from canthus.files import check_targets, writing, written
from canthus.images import fit_image, read_image
from canthus.lookup import lookup
from canthus.runtime.cards import DETECTOR, DetectorCard, ModelCard, card_kind
from canthus.runtime.sessions import DetectorSession, LandmarkSession, find_model, open_onnx, read_model
from canthus.zoo import DEFAULT, FLOAT, embedded_detectors, embedded_models

COMPARED = 256
"""Most crops on which a file is compared; of whole pictures, a quarter."""
DRAWN = 32
"""Faces that are drawn where no data are given."""
MOST_PX = {False: 0.01, True: 0.5}
"""Largest difference of a point or a side of a box in pixels of the input; True: with numbers of 16 bits."""
MOST_NUMBER = {False: 0.01, True: 0.25}
"""Largest difference of the other outputs: a logarithm of the expected error, or the logit of a score."""
ROUNDS = 10
"""Rounds of five runs each in which the file and ONNX Runtime are timed in turns."""

Session: TypeAlias = LandmarkSession | DetectorSession
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""


@final
@dataclass(frozen=True)
class ConvertSettings:
    """What is made.

    Attributes:
        target: key of ``TARGETS``.
        batch: crops, or pictures, of one run.
        sides: height and width of a detector's picture; None for ``DETECTOR_PICTURE`` at the size of its card.
        scaled: leave the scaling of pixels inside, so that the input is 0 to 255.
        half: numbers of 16 bits.
        check: ``dataset/split`` on which the file is compared; empty for the first one that the card names and that is
            at hand, or else drawn faces.
    """

    target: str
    batch: int = 1
    sides: tuple[int, int] | None = None
    scaled: bool = False
    half: bool = False
    check: str = ""


@final
@dataclass(frozen=True)
class ConvertReport:
    """A file in another format beside its ONNX file.

    Attributes:
        files: what was written, the file that was asked for first and the JSON card last.
        size_bytes: of all files but the card.
        onnx_bytes: of the ONNX file.
        pictures: number of crops or pictures that were compared; 0 where the runtime does not run here.
        compared_on: ``dataset/split``, or ``drawn faces``.
        difference_px: largest difference of a coordinate in pixels of the input.
        difference: largest difference of the other outputs, by name.
        ms: median of one run on one thread.
        onnx_ms: median of one run of the ONNX file, measured in turns with it.
    """

    files: tuple[Path, ...]
    maker: str
    input: Mapping[str, Any]
    size_bytes: int
    onnx_bytes: int
    pictures: int = 0
    compared_on: str = ""
    difference_px: float = math.nan
    difference: Mapping[str, float] = field(default_factory=dict)
    ms: float = math.nan
    onnx_ms: float = math.nan

    def describe(self, settings: ConvertSettings) -> list[str]:
        """Lines of text."""
        sides = " x ".join(map(str, self.input["shape"]))
        lines = [
            f"{self.files[0]}: {self.size_bytes / 1e6:.2f} MB (ONNX: {self.onnx_bytes / 1e6:.2f} MB), by {self.maker}",
            f"input: float32 {sides} ({self.input['layout']}), {self.input['colour'].upper()}, {self.input['formula']}",
            f"card: {self.files[-1]}",
        ]
        if not self.pictures:
            return [
                *lines,
                f"not compared with ONNX Runtime: the runtime of {settings.target} does not run on this system",
            ]
        bound = f"{MOST_PX[settings.half]:g} px is allowed"
        others = "".join(f"; {name} by {value:.1e}" for name, value in self.difference.items())
        compared = f"{self.pictures} inputs of {self.compared_on}"
        return [
            *lines,
            f"differs from ONNX Runtime by at most {self.difference_px:.1e} px on {compared} ({bound}){others}",
            f"one run: {self.ms:.2f} ms, ONNX Runtime {self.onnx_ms:.2f} ms, one thread each",
        ]


def target_path(model: str, target: str) -> Path:
    """Default output: beside the file of a model, or in the current folder for an embedded name."""
    name = DEFAULT if model == "default" else model
    suffix = lookup(TARGETS, target, kind="target").suffix
    known = name in embedded_models() or name in embedded_detectors()
    return Path(f"{name}{suffix}") if known else Path(name).with_name(f"{Path(name).stem}{suffix}")


def check_convert_targets(model: str, path: Path, target: str) -> None:
    """Refuse a path with another suffix, and outputs that would replace anything canthus did not write.

    Raises:
        ConfigError: the path is refused.
    """
    suffix = f".{lookup(TARGETS, target, kind='target').suffix.rpartition('.')[2]}"
    if path.suffix != suffix:
        raise ConfigError(f"{path}: the name of a file for {target} ends in {suffix}; choose such a name")
    if path.is_dir() and not is_own_package(path):
        raise ConfigError(f"--out: {path} is a folder that canthus did not write; choose another name")
    weights = path.with_suffix(".bin") if target == "openvino" else None
    if weights is not None and weights.exists() and not path.exists():
        raise ConfigError(f"--out: {weights} would be overwritten, the weights of {path}; choose another name")
    check_targets(
        [model],
        model={"--out": path, "the weights beside --out": weights},
        text={"the card beside --out": _card_path(path)},
    )


def _card_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def open_network(model: str | Path) -> tuple[Session, bytes]:
    """An ONNX file of canthus, landmarks or detector, by embedded name or path; and its content.

    Raises:
        ConfigError: an unknown name.
        ModelFileError: the file is missing, is an int8 model, or is not an ONNX file of canthus.
    """
    name = str(model)
    if Path(name).suffix == ".npz":
        raise ModelFileError(f"{name}: is a cascade of ferns, expected a network; a cascade has no other format")
    path = find_model(name, kind=DETECTOR if name in embedded_detectors() else "landmarks")
    data = read_model(path)
    kind = card_kind(open_onnx(data, source=name, threads=1)[1], source=name)
    session = (DetectorSession if kind == DETECTOR else LandmarkSession)(data, source=name)
    if isinstance(session, LandmarkSession) and session.card.quantization:
        raise ModelFileError(
            f"{name}: is an int8 model, expected a float one, such as the file that it was made from "
            f"or the embedded {FLOAT}"
        )
    return session, data


def convert(
    session: Session,
    content: bytes,
    path: Path,
    settings: ConvertSettings,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress = lambda what, done, total: None,
) -> ConvertReport:
    """Write a network in another format if its answers are those of the ONNX file.

    Args:
        session: the ONNX file.
        content: of the ONNX file.
        path: file to write; a JSON card is written beside it.
        roots: folder of each dataset at hand, by name.

    Raises:
        ConfigError: a setting that the target or the network does not take.
        DataError: a dataset is damaged.
        MissingExtraError: the maker's package is not installed.
        ModelFileError: the network cannot be converted, or the answers differ by more than ``MOST_PX``.
        OutputError: a file cannot be written.
    """
    target = lookup(TARGETS, settings.target, kind="target")
    target.check_installed()
    if settings.half and not target.halves:
        able = ", ".join(name for name, entry in TARGETS.items() if entry.halves)
        raise ConfigError(f"{settings.target} has no form with 16 bits here; leave out --half, or use {able}")
    core = core_of(content, _shape(session.card, settings), source=session.source, scaled=settings.scaled)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        card = _card(core, session.card, settings, target)
        progress("converting", 0, 2)
        target.convert(core, json.dumps(card, indent=1), made, half=settings.half)
        progress("converting", 1, 2)
        report = ConvertReport(
            files=(path,),
            maker=card["made_by"],
            input=card["input"],
            size_bytes=sum(entry.stat().st_size for entry in Path(folder).rglob("*") if entry.is_file()),
            onnx_bytes=len(content),
        )
        if target.runs_here:
            report = _compared(
                report, target.run(made, core), core, session, settings, roots=roots, cache=cache, progress=progress
            )
        progress("converting", 2, 2)
        card["compared"] = _comparison(report, settings)
        return replace(report, files=_keep(Path(folder), path, json.dumps(card, indent=1) + "\n"))


def _shape(card: ModelCard | DetectorCard, settings: ConvertSettings) -> tuple[int, int, int]:
    """Number of inputs, height and width."""
    if isinstance(card, ModelCard):
        if settings.sides not in (None, (card.size, card.size)):
            raise ConfigError(f"The landmark model takes {card.size} x {card.size} pixels; leave out --size")
        return settings.batch, card.size, card.size
    multiple = max(card.strides)
    height, width = settings.sides or (card.size * DETECTOR_PICTURE[0] // DETECTOR_PICTURE[1], card.size)
    if settings.sides and (height % multiple or width % multiple):
        raise ConfigError(f"Sides of the detector's picture are multiples of {multiple}, found {width} x {height}")
    return settings.batch, -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _card(core: Core, card: ModelCard | DetectorCard, settings: ConvertSettings, target: Target) -> dict[str, Any]:
    """What a program needs to use the file."""
    count, planes, height, width = core.input.shape
    shape = (count, height, width, planes) if target.channels_last else core.input.shape
    scales = [
        f"pixel * {a:g} {'-' if b < 0 else '+'} {abs(b):g}"
        for a, b in zip(core.input.scale, core.input.offset, strict=True)
    ]
    idle = set(core.input.scale) == {1.0} and set(core.input.offset) == {0.0}
    formula = "pixels of 0 to 255 as they are" if idle else ", ".join(dict.fromkeys(scales))
    if isinstance(card, ModelCard):
        meanings = {
            "points": f"x, y in sides of the crop from its outer corner; in pixels: value * {card.size} - 0.5",
            "spread": "natural logarithm of the expected error of each point, in sides of the crop",
        }
    else:
        meanings = {"faces": "rows of 15 numbers for each cell of the strides, as docs/detectors.md says"}
    return {
        "format": 1,
        "target": settings.target,
        "made_by": f"{target.version()}, canthus {canthus.__version__}, Python {platform.python_version()}",
        "half": settings.half,
        "input": {
            "name": "image",
            "type": "float32",
            "layout": "nhwc" if target.channels_last else "nchw",
            "shape": list(shape),
            "colour": core.input.colour,
            "scale": list(core.input.scale),
            "offset": list(core.input.offset),
            "formula": formula,
        },
        "outputs": [
            {"name": name, "shape": list(sides), "meaning": meanings[name]} for name, sides in core.outputs.items()
        ],
        "model": json.loads(card.to_json()),
    }


def _comparison(report: ConvertReport, settings: ConvertSettings) -> dict[str, Any] | None:
    if not report.pictures:
        return None
    return {
        "with": "ONNX Runtime",
        "on": report.compared_on,
        "inputs": report.pictures,
        "largest_px": report.difference_px,
        "allowed_px": MOST_PX[settings.half],
        **{f"largest_{name}": value for name, value in report.difference.items()},
    }


def _compared(
    report: ConvertReport,
    run: Runner,
    core: Core,
    session: Session,
    settings: ConvertSettings,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress,
) -> ConvertReport:
    """The report with the differences and times.

    Raises:
        ModelFileError: the answers differ by more than is allowed, or are not finite.
    """
    name, images = _inputs(session.card, core.input.shape, settings, roots=roots, cache=cache, progress=progress)
    count = core.input.shape[0]
    worst_px, worst = 0.0, dict[str, float]()
    for first in range(0, len(images), count):
        # The last batch is filled up with its own pictures.
        batch = images[np.arange(first, first + count) % len(images)]
        found = dict(zip(core.outputs, run(core.input.planes(batch)), strict=True))
        px, others = _differences(found, session, batch)
        worst_px = max(worst_px, px)
        worst = {key: max(value, worst.get(key, 0.0)) for key, value in others.items()}
    for what, value, most in (("points", worst_px, MOST_PX), *((key, v, MOST_NUMBER) for key, v in worst.items())):
        if not value <= most[settings.half]:
            raise ModelFileError(
                f"The {what} of the file for {settings.target} differ from those of ONNX Runtime by {value:.2g} on "
                f"{name}; {most[settings.half]:g} is allowed. Nothing was written"
            )
    planes = core.input.planes(images[np.arange(count) % len(images)])
    given = images[np.arange(count) % len(images)]
    runs: list[Callable[[], object]] = [lambda: run(planes), lambda: session(given)]
    seconds = np.concatenate(list(time_in_turns(runs, rounds=ROUNDS)), axis=1)
    own, theirs = (1e3 * latency(row).median_s for row in seconds)
    return replace(
        report, pictures=len(images), compared_on=name, difference_px=worst_px, difference=worst, ms=own, onnx_ms=theirs
    )


def _differences(
    found: Mapping[str, np.ndarray], session: Session, images: UInt8[np.ndarray, "n h w 3"]
) -> tuple[float, dict[str, float]]:
    """Largest difference of coordinates in pixels, and of the other outputs; NaN counts as infinite."""
    if isinstance(session, LandmarkSession):
        answer, side = session.answer(images), session.card.size
        points = found["points"].reshape(answer.points.shape) * side - 0.5
        others = {} if answer.spread is None else {"spread": _largest(found["spread"] - answer.spread)}
        return _largest(points - answer.points), others
    expected = session(images)
    card, (height, width) = session.card, images.shape[1:3]
    rows = found["faces"].reshape(expected.shape)
    least = np.minimum(math.log(card.score / (1 - card.score)), expected[..., 0].max(axis=1, keepdims=True))
    faces = expected[..., 0] >= least
    shown = [_face_pixels(part, card.strides, height, width)[faces] for part in (rows, expected)]
    return _largest(shown[0] - shown[1]), {"logit": _largest(rows[..., 0] - expected[..., 0])}


def _face_pixels(
    rows: Float32[np.ndarray, "n cells 15"], strides: tuple[int, ...], height: int, width: int
) -> Float32[np.ndarray, "n cells 14"]:
    """Centre, size and points of the face of each cell in pixels, from the centre of the cell."""
    counts = [(height // stride) * (width // stride) for stride in strides]
    pixels = np.repeat(np.array(strides, np.float32), counts)[:, None]
    return np.concatenate([rows[..., 1:3], np.exp(rows[..., 3:5]), rows[..., 5:]], axis=-1) * pixels


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0)) if np.isfinite(values).all() else math.inf


def _inputs(
    card: ModelCard | DetectorCard,
    shape: tuple[int, ...],
    settings: ConvertSettings,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress,
) -> tuple[str, UInt8[np.ndarray, "n h w 3"]]:
    """Name of the pictures on which is compared, and the pictures: crops, or whole pictures for a detector."""
    measured = [name.rpartition("/")[0] for name in card.metrics if name.endswith(("/nme_ion", "/ap_50"))]
    at_hand = [name for name in measured if name.count("/") == 1 and name.partition("/")[0] in roots]
    name = settings.check or (at_hand[0] if at_hand else "")
    rng, (height, width) = np.random.default_rng(0), shape[2:]
    if not name:
        side = min(height, width)
        drawn = np.stack([draw_face(rng, size=max(32, side)).image for _ in range(DRAWN)])
        if isinstance(card, DetectorCard):
            wide = np.zeros((DRAWN, height, width, 3), np.uint8)
            wide[:, :side, :side] = drawn
            return "drawn faces", wide
        return "drawn faces", drawn[:, :height, :width]
    dataset, _, split = name.partition("/")
    root = dataset_root(roots, dataset)
    if isinstance(card, DetectorCard):
        scenes = _spread_out(load_scenes(dataset, root, split), COMPARED // 4)
        return name, np.stack([_framed(read_image(scene.path), height, width) for scene in scenes])
    faces = _spread_out(load_dataset(dataset, root, split, scheme=card.find_scheme()), COMPARED)
    size = max(PACK_SIZE, math.ceil(card.size * PACK_MARGIN / card.margin))
    pack = load_crops(faces, cache, size=size, progress=functools.partial(progress, name))
    view = View(size=card.size, margin=card.margin, pack_margin=pack.margin)
    return name, np.stack([plain_view(pack.sample(index), view).image for index in range(len(pack))])


def _spread_out(entries: list[Any], most: int) -> list[Any]:
    """At most so many entries, from all parts of a list."""
    return [entries[index] for index in np.unique(np.linspace(0, len(entries) - 1, most).astype(int))]


def _framed(image: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The picture, resized into a black frame of the given sides."""
    scale = min(width / image.shape[1], height / image.shape[0])
    fitted, _ = fit_image(image, max(1, int(scale * max(image.shape[:2]))), multiple=1)
    framed = np.zeros((height, width, 3), np.uint8)
    part = fitted[:height, :width]
    framed[: part.shape[0], : part.shape[1]] = part
    return framed


def _keep(folder: Path, path: Path, card: str) -> tuple[Path, ...]:
    """Move what was made to its place, and write the card; return the files."""
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name != path.name)
    places = [*(path.parent / entry.name for entry in entries), _card_path(path)]
    with ExitStack() as stack:
        stack.enter_context(written(places[-1])).write_text(card, encoding="utf-8")
        for entry, place in zip(entries, places, strict=False):
            if entry.is_dir():
                with writing(place):
                    replace_folder(entry, place)
            else:
                shutil.copyfile(entry, stack.enter_context(written(place)))
    return tuple(places)
