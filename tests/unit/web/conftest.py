"""A service for each test."""

from collections.abc import Iterator

import pytest

from canthus.runtime.pipeline import Pipeline, load_pipeline
from http_service import Serve, services


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    """The embedded models."""
    return load_pipeline()


@pytest.fixture
def serve(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a service with the given limits; it ends with the test."""
    with services(pipeline, monkeypatch) as start:
        yield start
