"""The engine ``ray``: one task of Ray Data lists the pictures, and a pool of its actors marks them (extra: ray)."""

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any, final

import pyarrow as pa

from canthus.batch.jobs import Job, pending
from canthus.batch.marker import Marker
from canthus.batch.sources import Names, batches
from canthus.errors import CanthusError, ConfigError
from canthus.lookup import require

BATCH = 64
"""Pictures in a block; each block costs Ray some ten milliseconds."""
STORE_BYTES = 64 << 20
"""Bytes of blocks, for each actor, that may wait for it or for the driver."""


def mark_with_ray(job: Job, done: Names, report: Callable[[str], None]) -> Iterator[pa.Table]:
    """Rows of pictures, in any order, made by actors of Ray.

    A block has one row that holds a pickled batch, so that Ray neither joins nor cuts batches.

    Args:
        job: what to do.
        done: pictures that are left out.
        report: gets one line for each folder that cannot be read.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no cluster at the address.
        DataError, CanthusError: the source cannot be read, or the job fails.
    """
    ray, data = require("ray", extra="ray"), require("ray.data", extra="ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it prints an error for every pool of actors
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=job.address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"No cluster of Ray can be reached at {job.address}: {error}") from error
    try:
        for rows, problems in _results(data, job, done):
            for problem in problems:
                report(problem)
            yield rows
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, CanthusError) else CanthusError(f"Ray ended the job: {cause}") from error
    except ray.exceptions.RayError as error:
        raise CanthusError(
            f"Ray ended the job: {str(error).splitlines()[0]} What was done is kept. Run the same command again; if it "
            "ends once more, --engine local goes on and notes the picture that kills its process"
        ) from error
    finally:
        if started:
            ray.shutdown()


def _results(data: Any, job: Job, done: Names) -> Iterator[tuple[pa.Table, list[str]]]:
    """Rows of batches, and what could not be listed before them."""
    from ray import cluster_resources

    workers = job.workers or max(1, int(cluster_resources().get("CPU", 1)))
    context = data.DataContext.get_current()
    context.target_max_block_size = 1  # every row is a block
    context.enable_progress_bars = False
    context.execution_options.resource_limits = data.ExecutionResources(object_store_memory=workers * STORE_BYTES)
    # The task that lists takes no processor: actors on all of them would leave none for it, and the job would hang.
    listed = data.read_datasource(_listing(job, done), override_num_blocks=1, num_cpus=0)
    pool = data.ActorPoolStrategy(size=workers)
    # A picture that kills its actor again and again ends the job, where Ray would try for ever.
    marked = listed.map_batches(
        _Actor, batch_size=1, batch_format="pyarrow", compute=pool, num_cpus=1, max_task_retries=4
    )
    for block in marked.iter_batches(batch_size=1, batch_format="pyarrow"):
        yield pickle.loads(block["batch"][0].as_py())  # noqa: S301 - our own actors made it


def _listing(job: Job, done: Names) -> Any:
    """A source of Ray Data that yields a block for each batch as it finds them."""
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    @final
    class Listing(Datasource):  # type: ignore[misc]
        """What Ray asks for."""

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[Any]:
            about = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(lambda: _blocks(job, done), about)]

    return Listing()


def _blocks(job: Job, done: Names) -> Iterator[pa.Table]:
    """Batches, each with the problems that were met before it, and the last problems."""
    problems: list[str] = []
    for batch in batches(pending(job, done, problems.append), BATCH):
        yield pa.table({"batch": [pickle.dumps((job, batch, problems))]})
        problems.clear()
    yield pa.table({"batch": [pickle.dumps((job, [], problems))]})


@final
class _Actor:
    """Opens the models with its first batch; Ray warns of actors whose constructor has arguments."""

    def __init__(self) -> None:
        self._marker: Marker | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        job, batch, problems = pickle.loads(block["batch"][0].as_py())  # noqa: S301 - our own task made it
        if self._marker is None:
            self._marker = Marker(**job.settings, source=job.source.address)
        return pa.table({"batch": [pickle.dumps((self._marker.mark(batch), problems))]})
