"""``canthus fetch``: third-party models, and what the page of ``canthus serve`` runs them with."""

from typing import Annotated

import typer

from canthus.lookup import lookup
from canthus.runtime import downloads


def fetch(
    name: Annotated[str, typer.Argument(help="yunet, for --detector yunet; or web, for canthus serve and export-web.")],
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Download from this mirror; the SHA-256 must be the same.")
    ] = None,
) -> None:
    """Download a file of another project into the cache and check its SHA-256."""
    download = lookup(downloads.DOWNLOADS, name, kind="download")
    path = downloads.fetch(download, url=url)
    size = f"{download.size_bytes / 1e3:.0f} kB"
    if download.unpacked:
        size = f"{len(download.unpacked)} files of a package of {download.size_bytes / 1e6:.1f} MB"
    typer.echo(f"{path}: {size}, licence {download.licence}, SHA-256 {download.sha256}")
