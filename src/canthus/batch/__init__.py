"""Faces of many pictures as rows of Arrow and Parquet, on one machine or many (extra: batch)."""

from canthus.lookup import require

require("pyarrow", extra="batch")  # before the modules below import it

from canthus.batch.jobs import Job, run  # noqa: E402
from canthus.batch.marker import Marker  # noqa: E402
from canthus.batch.rows import FaceRows, faces_of, pictures_of, row_schema  # noqa: E402
from canthus.batch.sources import Part, Source  # noqa: E402

__all__ = ["FaceRows", "Job", "Marker", "Part", "Source", "faces_of", "pictures_of", "row_schema", "run"]
