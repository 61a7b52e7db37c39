"""Many pictures into a dataset of faces: what is left to do, an engine that does it, and the files it goes to."""

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from typing import Any, final

import pyarrow as pa

from canthus.batch.marker import Marker
from canthus.batch.rows import FaceRows
from canthus.batch.sources import Item, Names, Part, Source, Storage, batches
from canthus.batch.store import Store, Tally
from canthus.errors import CanthusError, DataError
from canthus.lookup import lookup
from canthus.runtime.detectors import detector_file, detector_name
from canthus.runtime.downloads import sha256
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.processes import Processes
from canthus.runtime.sessions import find_model, processors
from canthus.schemes import Scheme

FORMAT = 1
"""Version of the manifest and of the columns."""
BATCH = 16
"""Pictures that a process gets at once: enough that handing them over costs nothing, and few lost with a process."""
PATIENCE_S = 0.5
"""An engine says so when it has had no rows for so long."""
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
        batch, and between batches that take long.

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
            if rows is not None:
                store.add(rows)
            yield store.tally, store.shards


def manifest(job: Job, scheme: Scheme) -> dict[str, Any]:
    """What must be equal in all runs of a dataset."""
    settings = dict(job.settings)
    model = settings.pop("model", "default")
    detector, detector_model = settings.pop("detector", "default"), settings.pop("detector_model", None)
    files = {"model": find_model(model), "detector": detector_file(detector, detector_model)}
    return {
        "format": FORMAT,
        "canthus": version("canthus"),
        "source": Storage(job.source.address).base,
        "parts": job.part.count,
        "scheme": {"name": scheme.name, "points": scheme.count},
        "detector": detector_name(str(detector)),
        **{f"{name}_sha256": None if path is None else sha256(path) for name, path in files.items()},
        "options": settings,
    }


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


def local(job: Job, done: Names, report: Callable[[str], None]) -> Iterator[pa.Table | None]:
    """Rows of pictures, in any order, made by processes of this machine."""
    workers = job.workers or processors()
    todo = batches(pending(job, done, report), BATCH)
    for first in todo:
        # Two batches for each process, so that none waits for the next one; no more, so that few results wait.
        lost = yield from _marked(job, chain([first], todo), workers, 2 * workers)
        alone = iter([[item] for item in lost])
        for single in alone:
            deadly = yield from _marked(job, chain([single], alone), 1, 1)
            if deadly and (yield from _marked(job, iter([deadly]), 1, 1)):
                rows = FaceRows(load_pipeline(**job.settings).landmarker.session.scheme)
                rows.add_failure(deadly[0][0], KILLED)
                yield rows.table()


def _marked(
    job: Job, todo: Iterator[list[Item]], workers: int, ahead: int
) -> Generator[pa.Table | None, None, list[Item]]:
    """Rows of batches, until there are no more or a process is killed.

    Args:
        ahead: number of batches that wait or are at work.

    Returns:
        The pictures that waited or were at work when a process was killed.
    """
    waiting: dict[Future[pa.Table], list[Item]] = {}
    lost: list[Item] = []
    with _processes(job, workers) as processes:
        while not lost:
            for batch in islice(todo, ahead - len(waiting)):
                waiting[processes.submit(Marker.mark, batch)] = batch
            if not waiting:
                break
            finished = wait(waiting, PATIENCE_S, FIRST_COMPLETED).done
            for future in finished:
                batch = waiting.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost += batch
                else:
                    yield future.result()
            if not finished:
                yield None
    return lost + [item for batch in waiting.values() for item in batch]


@contextmanager
def _processes(job: Job, workers: int) -> Iterator[Processes]:
    """Processes that are ready to work.

    Raises:
        CanthusError: they cannot be started.
    """
    processes = Processes(workers, partial(Marker, **job.settings, source=job.source.address))
    finished = False
    try:
        try:
            processes.submit(Marker.mark, []).result()
        except BrokenProcessPool as error:
            raise CanthusError(
                "The processes that find the faces cannot be started; is there enough memory? A script that calls "
                "canthus.batch.run needs the line: if __name__ == '__main__':"
            ) from error
        yield processes
        finished = True
    finally:
        if not finished:  # a picture takes moments, a video up to hours: it is done anew next time
            processes.kill()
        processes.close()


def _ray(job: Job, done: Names, report: Callable[[str], None]) -> Iterator[pa.Table | None]:
    from canthus.batch.ray_engine import mark_with_ray

    return mark_with_ray(job, done, report)


ENGINES: dict[str, Callable[[Job, Names, Callable[[str], None]], Iterator[pa.Table | None]]] = {
    "local": local,
    "ray": _ray,
}
"""Name -> function from what is to be done to tables of rows, in any order; each picture has all its rows in one.

None says that there are no rows yet: then the caller may stop.
"""
