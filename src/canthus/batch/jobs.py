"""Many pictures into a dataset of faces: what is left to do, an engine that does it, and the files it goes to."""

import hashlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain, islice
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any, final

import pyarrow as pa

from canthus.batch.marker import Marker
from canthus.batch.rows import FaceRows
from canthus.batch.sources import Item, Names, Part, Source, Storage, batches
from canthus.batch.store import Store, Tally
from canthus.errors import CanthusError, DataError
from canthus.lookup import lookup
from canthus.runtime.cards import DETECTOR
from canthus.runtime.detectors import detector_name
from canthus.runtime.downloads import YUNET, fetched_file
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.sessions import find_model, processors
from canthus.schemes import Scheme

FORMAT = 1
"""Version of the manifest and of the columns."""
BATCH = 16
"""Pictures that a process gets at once: enough that handing them over costs nothing, and few lost with a process."""
KILLED = "the process that worked on it was killed, twice; it takes too much memory, or a decoder fails on it"


@final
@dataclass(frozen=True)
class Job:
    """A dataset to make.

    Attributes:
        source: where the pictures and videos are.
        destination: folder or address of the dataset.
        settings: of ``Marker``: the landmark model ``model``, and settings of ``load_pipeline``.
        part: the part of the pictures that this run is about.
        engine: a name in ``ENGINES``.
        workers: processes, or actors of Ray; by default one for each processor.
        address: of a cluster of Ray; by default ``RAY_ADDRESS``, else a cluster of this machine alone.
        shard: pictures in a file.
        retry_failed: try those again that could not be read.
    """

    source: Source
    destination: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    part: Part = field(default_factory=Part)
    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    shard: int = 1000
    retry_failed: bool = False


def run(job: Job, report: Callable[[str], None]) -> Generator[tuple[Tally, int]]:
    """Find the faces of all pictures that are not in the dataset yet.

    What was done is written even where the loop is left early or fails.

    Args:
        job: what to do.
        report: gets one line for each folder that cannot be read.

    Yields:
        The numbers of the dataset and of its files that this run has written: first as they were found, then after each
        batch.

    Raises:
        ConfigError, DataError, ModelFileError, OutputError: nothing can be done, or no more.
        MissingExtraError: the engine is not installed.
    """
    engine = lookup(ENGINES, job.engine, kind="engine")
    scheme = load_pipeline(**job.settings).landmarker.session.scheme
    store = Store(job.destination, manifest(job, scheme), job.part, shard=job.shard, retry_failed=job.retry_failed)
    with store:
        yield store.tally, store.shards
        for rows in engine(job, store.done, report):
            store.add(rows)
            yield store.tally, store.shards


def manifest(job: Job, scheme: Scheme) -> dict[str, Any]:
    """What must be equal in all runs of a dataset."""
    settings = dict(job.settings)
    model, detector = settings.pop("model", "default"), settings.pop("detector", "default")
    return {
        "format": FORMAT,
        "canthus": version("canthus"),
        "source": Storage(job.source.address).base,
        "parts": job.part.count,
        "scheme": {"name": scheme.name, "points": scheme.count},
        "model_sha256": _digest(Path(model) if str(model).endswith(".npz") else find_model(model)),
        "detector": detector_name(str(detector)),
        "detector_sha256": _digest(_detector_file(detector_name(str(detector)), settings.pop("detector_model", None))),
        "options": settings,
    }


def _detector_file(detector: str, model: str | None) -> Path | None:
    if detector in ("haar", "none"):
        return None
    if detector == "yunet":
        return Path(model or fetched_file(YUNET))
    return find_model(model or ("default" if detector == "canthus" else detector), kind=DETECTOR)


def _digest(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def pending(job: Job, done: Names, report: Callable[[str], None]) -> Iterator[Item]:
    """The pictures of a job that are not done.

    Raises:
        DataError: the source holds none at all, or cannot be read.
    """
    name = None
    for name, content in job.source.items(report):
        if name in job.part and name not in done:
            yield name, content
    if name is None:
        raise DataError(f"{job.source.address}: no pictures or videos in this folder, list or file")


def local(job: Job, done: Names, report: Callable[[str], None]) -> Iterator[pa.Table]:
    """Rows of pictures, in any order, made by processes of this machine."""
    todo = batches(pending(job, done, report), BATCH)
    for first in todo:
        lost: list[Item] = []
        yield from _side_by_side(job, chain([first], todo), lost)
        yield from _one_by_one(job, deque(lost))


def _side_by_side(job: Job, todo: Iterator[list[Item]], lost: list[Item]) -> Iterator[pa.Table]:
    """Rows of batches, until there are no more or a process is killed.

    Args:
        lost: gets the pictures that were being worked on when a process was killed.
    """
    workers = job.workers or processors()
    waiting: dict[Future[pa.Table], list[Item]] = {}
    with _processes(job, workers) as pool:
        while not lost:
            # Two batches for each process, so that none waits for the next one; no more, so that few results wait.
            for batch in islice(todo, 2 * workers - len(waiting)):
                waiting[_submitted(pool, batch)] = batch
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                batch = waiting.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost += batch
                else:
                    yield future.result()
    lost += [item for batch in waiting.values() for item in batch]


def _one_by_one(job: Job, items: deque[Item]) -> Iterator[pa.Table]:
    """Rows of pictures whose process was killed; one that kills its process twice more becomes a failure."""
    tries = 0
    while items:
        with _processes(job, 1) as pool:
            while items:
                future = _submitted(pool, [items[0]])
                if isinstance(future.exception(), BrokenProcessPool):
                    tries += 1
                    break
                yield future.result()
                items.popleft()
                tries = 0
        if tries == 2:
            rows = FaceRows(load_pipeline(**job.settings).landmarker.session.scheme)
            rows.add_failure(items.popleft()[0], KILLED)
            yield rows.table()
            tries = 0


def _submitted(pool: ProcessPoolExecutor, batch: list[Item]) -> Future[pa.Table]:
    try:
        return pool.submit(_sent, batch)
    except BrokenProcessPool as error:
        future: Future[pa.Table] = Future()
        future.set_exception(error)
        return future


@contextmanager
def _processes(job: Job, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are ready to work; they end with the block, or with this process.

    Raises:
        CanthusError: they cannot be started.
    """
    others = set(active_children())
    settings = {**job.settings, "source": job.source.address}
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(settings,))
    finished = False
    try:
        try:
            pool.submit(mark_here, []).result()
        except BrokenProcessPool as error:
            raise CanthusError(
                "The processes that find the faces cannot be started; is there enough memory? A script that calls "
                "canthus.batch.run needs the line: if __name__ == '__main__':"
            ) from error
        yield pool
        finished = True
    finally:
        if not finished:  # a picture takes moments, a video up to hours: it is done anew next time
            for process in set(active_children()) - others:
                process.kill()
        pool.shutdown(cancel_futures=True)


_marker: list[Marker] = []
"""The marker of a worker process."""


def _begin(settings: Mapping[str, Any]) -> None:
    """Open the models of a worker process, which ends when its parent is killed, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _marker.append(Marker(**settings))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def mark_here(batch: list[Item]) -> pa.Table:
    """Rows of a batch, in a worker process."""
    return _marker[0].mark(batch)


_sent = mark_here
"""What processes are asked to do."""


def _ray(job: Job, done: Names, report: Callable[[str], None]) -> Iterator[pa.Table]:
    from canthus.batch.ray_engine import mark_with_ray

    return mark_with_ray(job, done, report)


ENGINES: dict[str, Callable[[Job, Names, Callable[[str], None]], Iterator[pa.Table]]] = {"local": local, "ray": _ray}
"""Name -> function from what is to be done to tables of rows, in any order; each picture has all its rows in one."""
