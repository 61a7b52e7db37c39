"""Faces of batches of pictures: what every engine runs, in as many processes as it likes."""

import io
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, final

import cv2
import pyarrow as pa

from canthus.batch.rows import DAMAGED, DONE, FAILED, FaceRows, row_schema
from canthus.batch.sources import Storage, is_video, suffix
from canthus.errors import CanthusError, DataError
from canthus.images import checked_image, decode_image, read_image
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.tracker import Tracker
from canthus.runtime.video import open_video
from canthus.types import Image

_AHEAD = 8
"""Files from a network that are fetched at the same time."""
_CHUNK = 2000
"""Rows of a video that are kept as numbers in Python; more become a table."""
BAD_FILE = (CanthusError, ValueError, TypeError, OSError, RuntimeError, MemoryError, cv2.error, pa.ArrowException)
"""What a file can raise; it becomes a row, so that one file ends no job."""


@final
class Marker:
    """Find the faces of batches of pictures; the class that Ray Data, Spark and ``canthus batch`` run.

    It opens its models once, when it is made.  A picture that cannot be read becomes a row with an error.

    Args:
        model: landmark model, as in ``load_pipeline``; a path must exist wherever the class is made.
        source: address of the pictures, only where their storage needs settings, such as
            ``s3://bucket?endpoint_override=...``.
        settings: further settings of ``load_pipeline``.

    Attributes:
        schema: columns of the tables (``rows.row_schema``).

    Raises:
        ConfigError, ModelFileError: as ``load_pipeline``.

    Example:
        >>> pictures = ray.data.read_images("s3://bucket/photos", include_paths=True)
        >>> pictures.map_batches(canthus.batch.Marker, concurrency=8, batch_size=32).write_parquet("s3://bucket/faces")
    """

    def __init__(self, model: str | bytes = "default", *, source: str = "", **settings: Any) -> None:
        cv2.setNumThreads(1)
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # damaged files become rows
        self.pipeline = load_pipeline(model, **settings)
        self._scheme = self.pipeline.landmarker.session.scheme
        self.schema = row_schema(self._scheme)
        self._storage = Storage(source) if source else None

    def __call__(self, batch: Any) -> Any:
        """The rows of a batch: one a face, and one for each picture without faces (``rows.row_schema``).

        Args:
            batch: columns in a mapping, a table of Arrow or a data frame of pandas, at least one of ``image`` (RGB
                arrays, uint8 ``(h, w, 3)``), ``bytes`` or ``content`` (files), and ``path`` (paths or addresses).
                ``path`` is also the name of a picture; without it, pictures are called 0, 1, ... within the batch.

        Returns:
            A data frame for a data frame, otherwise a table of Arrow.

        Raises:
            ValueError: the batch has none of these columns.
        """
        columns = batch.to_pydict() if isinstance(batch, pa.Table | pa.RecordBatch) else batch
        contents = [columns[name] for name in ("image", "bytes", "content") if name in columns]
        if not contents and "path" not in columns:
            raise ValueError(f"Expected a column image, bytes, content or path; found {', '.join(map(str, columns))}")
        names = columns["path"] if "path" in columns else range(len(contents[0]))
        rows = self.mark(zip(map(str, names), contents[0] if contents else repeat(None), strict=False))
        return rows.to_pandas(integer_object_nulls=True) if hasattr(batch, "iloc") else rows

    def mark(self, items: Iterable[tuple[str, Any]]) -> pa.Table:
        """The rows of pictures and videos.

        Args:
            items: name and content of each: an RGB array, the bytes of a file, or None to read the file of that name.
        """
        rows, tables = FaceRows(self._scheme), []
        for name, content in self._with_files(items):
            if is_video(name):
                tables += [rows.table(), self._film(name, content)]
            else:
                self._add_picture(rows, name, content)
        return pa.concat_tables([*tables, rows.table()])

    def _with_files(self, items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """The items; pictures on a network are fetched by several threads in advance."""
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="canthus-fetch") as pool:
            waiting: deque[tuple[str, Any]] = deque()
            for name, content in items:
                fetched = content is None and "://" in name and not is_video(name)
                waiting.append((name, pool.submit(self._storage_of(name).read, name) if fetched else content))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft()
            yield from waiting

    def _storage_of(self, name: str) -> Storage:
        if self._storage is None or not self._storage.holds(name):
            self._storage = Storage.around(name, like=self._storage)
        return self._storage

    def _add_picture(self, rows: FaceRows, name: str, content: Any) -> None:
        try:
            image = _pixels(name, content.result() if isinstance(content, Future) else content)
            frame = self.pipeline(image)
        except BAD_FILE as error:
            rows.add_failure(name, reason(error, name))
        else:
            rows.add(name, frame, width=image.shape[1], height=image.shape[0])

    def _film(self, name: str, content: bytes | None) -> pa.Table:
        """The rows of a video."""
        rows, tables, about = FaceRows(self._scheme), [], _About()
        try:
            with self._on_disk(name, content) as path:
                tracker = Tracker(self.pipeline)
                with open_video(path) as video:
                    for number, (image, time_s) in enumerate(video):
                        about.frames, (about.height, about.width) = number + 1, image.shape[:2]
                        rows.add(name, tracker(image, time_s), number=number)
                        if len(rows) >= _CHUNK:
                            tables.append(rows.table())
                    about.error = video.problem
        except BAD_FILE as error:
            about.error = reason(error, name)
        if not tables and not len(rows):
            rows.add_failure(name, "")
        return about.filled(pa.concat_tables([*tables, rows.table()]))

    @contextmanager
    def _on_disk(self, name: str, content: bytes | None) -> Iterator[str]:
        """Path of a video, which is copied from a network or from memory to a file for a while."""
        if content is None and "://" not in name:
            yield name
            return
        with tempfile.TemporaryDirectory(prefix="canthus-") as folder:
            path = Path(folder) / f"video{suffix(name)}"
            with path.open("wb") as file, ExitStack() as stack:
                source = io.BytesIO(content) if content else stack.enter_context(self._storage_of(name).open(name))
                shutil.copyfileobj(source, file)
            try:
                yield str(path)
            except BAD_FILE as error:
                raise DataError(reason(error, name).replace(str(path), name)) from error


@dataclass
class _About:
    """What a video turned out to be."""

    frames: int = 0
    width: int | None = None
    height: int | None = None
    error: str | None = None

    def filled(self, rows: pa.Table) -> pa.Table:
        """The rows with these values in all of them."""
        status = DONE if self.error is None else DAMAGED if self.frames else FAILED
        for name, value in {**asdict(self), "status": status}.items():
            place, field = rows.schema.get_field_index(name), rows.schema.field(name)
            rows = rows.set_column(place, field, pa.array(repeat(value, rows.num_rows), field.type))
        return rows


def _pixels(name: str, content: Any) -> Image:
    """The picture of an item.

    Raises:
        ImageError: it cannot be read.
        TypeError, ValueError: an array that is no picture.
    """
    if content is None:
        return read_image(name)
    if isinstance(content, bytes | bytearray | memoryview):
        return decode_image(bytes(content), name=name)
    return checked_image(content)


def reason(error: Exception, name: str) -> str:
    """What went wrong with a file, in one line without its name."""
    text = error.err if isinstance(error, cv2.error) else str(error)
    if isinstance(error, MemoryError) and not text:
        return "there is not enough memory"
    return " ".join(text.removeprefix(f"{name}: ").split()) or type(error).__name__
