"""``canthus fetch``: models of others, on request."""

from typing import Annotated

import typer


def fetch(
    name: Annotated[str, typer.Argument(help="What to fetch: yunet, for --detector yunet.")],
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Take it from this mirror; the content must be the same.")
    ] = None,
) -> None:
    """Download a third-party model into the cache and check its SHA-256."""
    from canthus.lookup import lookup
    from canthus.runtime.downloads import DOWNLOADS
    from canthus.runtime.downloads import fetch as fetch_file

    download = lookup(DOWNLOADS, name, kind="download")
    path = fetch_file(download, url=url)
    typer.echo(f"{path}: {download.size_bytes / 1e3:.0f} kB, licence {download.licence}, SHA-256 {download.sha256}")
