"""Pictures to records: read, find the faces, write overlays and crops; in this process or in several."""

import pickle
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, final

import cv2

from canthus.errors import CanthusError, DataError, ImageError
from canthus.images import read_image, read_images, write_image
from canthus.runtime.backends import ONNXRUNTIME
from canthus.runtime.box_files import BoxFile
from canthus.runtime.chips import Chips
from canthus.runtime.detectors import detector_file
from canthus.runtime.downloads import sha256
from canthus.runtime.draw import draw_frame
from canthus.runtime.measures import FaceMeasures
from canthus.runtime.pipeline import CARD_THREADS, Pipeline
from canthus.runtime.processes import Processes, in_order
from canthus.runtime.sessions import find_model, usable_threads
from canthus.schemes import Scheme
from canthus.types import SCHEMA_VERSION, Frame, Image

Record: TypeAlias = dict[str, Any]
_AHEAD = 2
"""Pictures that wait or are at work for each process."""


@final
@dataclass(frozen=True)
class PictureTask:
    """One picture.

    Attributes:
        path: the picture.
        overlay: where it is written with what was found; None for nowhere.
        crops: path of its face chips without the number and suffix; None for nowhere.
    """

    path: Path
    overlay: Path | None = None
    crops: Path | None = None


@final
@dataclass(frozen=True)
class PictureWork:
    """What is done with each picture.

    Attributes:
        measures: what is added to the record of each face.
        scheme: numbering of the points that are written and drawn; None for the model's own.
        known: boxes from a file; None to run the detector.
        chips: how face chips are made; None for none.
        threads: threads of OpenCV.
    """

    pipeline: Pipeline
    measures: FaceMeasures
    scheme: Scheme | None = None
    known: BoxFile | None = None
    chips: Chips | None = None
    threads: int = 1

    def begin(self) -> None:
        """Set OpenCV up for this process: its threads, and silence about damaged files, which are reported."""
        cv2.setNumThreads(usable_threads(self.threads))
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

    def settings(self) -> dict[str, Any]:
        """What decides about the records, as plain data: models and boxes by name and SHA-256, and all options."""
        made_with = self.pipeline.settings
        named = {name: value.name if isinstance(value, Path) else value for name, value in made_with.items()}
        files = {
            "model": find_model(made_with["model"]),
            "detector": detector_file(made_with["detector"], made_with["detector_model"]),
        }
        named |= {f"{name}_sha256": None if path is None else sha256(path) for name, path in files.items()}
        known = self.known
        named |= {"boxes_sha256": None if known is None else known.sha256()}
        if known is not None:
            named["min_score"] = known.min_score
        del named["threads"], named["device"]
        if named["backend"] == ONNXRUNTIME:  # so that a file of before there were others goes on
            del named["backend"]
        chips = None if self.chips is None else asdict(self.chips) | {"folder": str(self.chips.folder)}
        written = (self.scheme or self.pipeline.landmarker.session.scheme).name
        measures = list(self.measures.columns)
        return {"canthus": version("canthus"), **named, "scheme": written, "measures": measures, "crops": chips}

    def record(self, task: PictureTask, image: Image | ImageError) -> Record:
        """The record of a picture; if it cannot be read, processed or drawn, one with the reason."""
        try:
            if isinstance(image, ImageError):
                raise image
            return self._done(task, image)
        except DataError as error:
            return failed_record(task.path, str(error))
        except (ValueError, MemoryError, cv2.error) as error:
            reason = error.err if isinstance(error, cv2.error) else str(error) or "there is not enough memory"
            return failed_record(task.path, f"cannot be processed ({' '.join(reason.split())})")

    def _done(self, task: PictureTask, image: Image) -> Record:
        frame = self._frame(task.path, image)
        measured = self.measures.of(frame.landmarks.points)
        written = frame if self.scheme is None else frame.convert(self.scheme)
        record = written.to_dict(str(task.path), image)
        for face, additions in zip(record["faces"], measured.records, strict=True):
            face |= additions
        if task.overlay is not None:
            write_image(task.overlay, draw_frame(image, written, angles=measured.angles))
        if self.chips is not None and task.crops is not None:
            stem = task.crops
            chips = self.chips.write(image, frame, lambda index: stem.with_name(f"{stem.name}-{index}"))
            for face, chip in zip(record["faces"], chips, strict=True):
                face["crop"] = chip
        return record

    def _frame(self, path: Path, image: Image) -> Frame:
        if self.known is None:
            return self.pipeline(image)
        return self.pipeline.mark(image, self.known.faces_in(image, path))


def failed_record(path: Path, problem: str) -> Record:
    """The record of a picture that failed; ``problem`` may begin with its path."""
    reason = problem.removeprefix(f"{path}: ")
    about: Record = {"image": str(path), "width": None, "height": None, "faces": []}
    return {**about, "error": reason, "schema_version": SCHEMA_VERSION}


def records(work: PictureWork, tasks: Iterable[PictureTask], *, jobs: int = 1) -> Generator[Record, None, None]:
    """The record of each picture, in order.

    In one process, a thread reads the next picture meanwhile.  In several, each reads its own pictures; at most
    ``_AHEAD`` of them for each process wait or are at work, so that the memory does not grow with their number.  On a
    card, ``CARD_THREADS`` threads of each process do so, whose runs go to the card together.
    Where the iteration is closed, pictures at work are finished and dropped.

    Args:
        tasks: the pictures, taken one by one.
        jobs: number of processes.

    Raises:
        CanthusError: a model cannot be used, a file cannot be written, or a process ended on its own.
    """
    if jobs > 1:
        yield from _records_of_processes(work, tasks, jobs)
        return
    work.begin()
    if work.pipeline.on_card:
        with ThreadPoolExecutor(CARD_THREADS, thread_name_prefix="canthus-card") as pool:
            yield from in_order(lambda task: pool.submit(_record_of_file, work, task), tasks, ahead=CARD_THREADS)
        return
    waiting: deque[PictureTask] = deque()

    def paths() -> Iterator[Path]:
        for task in tasks:
            waiting.append(task)
            yield task.path

    # No enumerate or zip, which would keep each picture in memory while the next one is decoded.
    for _, image in read_images(paths()):
        record = work.record(waiting.popleft(), image)
        del image
        yield record


def _records_of_processes(work: PictureWork, tasks: Iterable[PictureTask], jobs: int) -> Iterator[Record]:
    processes = Processes(jobs, _unpacked, pickle.dumps(work))
    try:
        yield from in_order(lambda task: processes.submit(_record_of_file, task), tasks, ahead=_AHEAD * jobs)
    except BrokenProcessPool as error:
        raise CanthusError(
            "A process of --jobs ended on its own, perhaps for want of memory; run again with fewer jobs"
        ) from error
    finally:
        processes.close()


def _unpacked(packed: bytes) -> PictureWork:
    """The work of a process, whose models are opened with its first picture, so that their errors are told."""
    work: PictureWork = pickle.loads(packed)  # noqa: S301  from the process that started this one
    work.begin()
    return work


def _record_of_file(work: PictureWork, task: PictureTask) -> Record:
    try:
        image: Image | ImageError = read_image(task.path)
    except ImageError as error:
        image = error
    return work.record(task, image)
