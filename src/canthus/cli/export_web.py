"""``canthus export-web``: the page as static files."""

from pathlib import Path
from typing import Annotated

import typer

from canthus.cli import options
from canthus.cli.serve import fetch_runtime
from canthus.files import check_targets
from canthus.web.page import export_page, page_files
from canthus.zoo import FATIGUE


def export_web(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; new, empty, or written before.")],
    model: options.LandmarkModelOption = FATIGUE,
    detector: Annotated[
        str, typer.Option(metavar="NAME|FILE", show_default="canthus", help="Face detector of canthus.")
    ] = "default",
) -> None:
    """Write the page that marks faces in the browser as files for any web server.

    Everything runs in the browser: the server only sends files. Cameras need https, or an address of the same machine.
    """
    check_targets([model, detector], text={})
    fetch_runtime()
    files = page_files(model, "default" if detector == "canthus" else detector)
    size = export_page(folder, files)
    typer.echo(f"{folder}: {size / 1e6:.1f} MB; try it: python -m http.server --directory {folder} --bind 127.0.0.1")
