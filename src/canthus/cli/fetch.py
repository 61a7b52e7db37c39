"""``canthus fetch``: third-party models."""

from typing import Annotated

import typer

from canthus.lookup import lookup
from canthus.runtime import downloads


def fetch(
    name: Annotated[str, typer.Argument(help="Model to download: yunet, for --detector yunet.")],
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Download from this mirror; the SHA-256 must be the same.")
    ] = None,
) -> None:
    """Download a third-party model into the cache and check its SHA-256."""
    download = lookup(downloads.DOWNLOADS, name, kind="download")
    path = downloads.fetch(download, url=url)
    typer.echo(f"{path}: {download.size_bytes / 1e3:.0f} kB, licence {download.licence}, SHA-256 {download.sha256}")
