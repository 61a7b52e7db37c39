"""``canthus serve``: the page and the service over HTTP."""

import os
import sys
import webbrowser
from typing import Annotated

import typer
from rich.console import Console

from canthus.cli import options
from canthus.errors import ConfigError
from canthus.lookup import lookup, require
from canthus.runtime.downloads import ONNXRUNTIME_WEB, fetch, is_fetched
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.sessions import processors
from canthus.web.limits import FORMATS, Limits
from canthus.web.page import Content, page_files
from canthus.zoo import FATIGUE

BOUNDS = "What clients may ask for"
ACCESS = "Who may ask"
MB = 1_000_000


HostOption = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen at; 0.0.0.0 is all.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")]
OpenOption = Annotated[
    bool | None,
    typer.Option("--open/--no-open", show_default="on a terminal with a screen", help="Open the page in a browser."),
]
PageOption = Annotated[bool, typer.Option("--page/--no-page", help="Serve the page beside the service.")]
ProcessesOption = Annotated[
    int | None, typer.Option(min=1, show_default="one a core", help="Processes at work.", rich_help_panel=BOUNDS)
]
QueueOption = Annotated[int, typer.Option(min=0, help="Requests that wait beside those.", rich_help_panel=BOUNDS)]
ClientOption = Annotated[
    int, typer.Option(min=0, help="Requests of one address at a time; 0 for any.", rich_help_panel=BOUNDS)
]
StreamsOption = Annotated[int, typer.Option(min=1, help="Videos and open streams at a time.", rich_help_panel=BOUNDS)]
BodyOption = Annotated[float, typer.Option(metavar="MB", help="Of a picture.", rich_help_panel=BOUNDS)]
VideoOption = Annotated[float, typer.Option(metavar="MB", help="Of a video.", rich_help_panel=BOUNDS)]
PixelsOption = Annotated[
    float, typer.Option(metavar="MILLIONS", help="Pixels of a picture or frame.", rich_help_panel=BOUNDS)
]
TimeoutOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="For a picture to arrive, and to be answered.", rich_help_panel=BOUNDS)
]
VideoTimeoutOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="For a video to arrive, and to be answered.", rich_help_panel=BOUNDS)
]
FormatsOption = Annotated[
    str, typer.Option(metavar="NAMES", help=f"Kinds of pictures: {', '.join(FORMATS)}.", rich_help_panel=BOUNDS)
]
TokenOption = Annotated[
    str,
    typer.Option(
        envvar="CANTHUS_TOKEN",
        show_default="none",
        help="What requests must carry. Others on this machine see an option, and not a variable.",
        rich_help_panel=ACCESS,
    ),
]
CorsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        show_default="none",
        help="Pages that may use the service, such as https://example.org; * for all. May be repeated.",
        rich_help_panel=ACCESS,
    ),
]


def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    open_page: OpenOption = None,
    page: PageOption = True,
    model: options.LandmarkModelOption = "default",
    detector: options.DetectorOption = None,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    processes: ProcessesOption = None,
    queue: QueueOption = 16,
    per_client: ClientOption = 8,
    streams: StreamsOption = 4,
    max_body: BodyOption = 20.0,
    max_video: VideoOption = 64.0,
    max_pixels: PixelsOption = 25.0,
    timeout: TimeoutOption = 30.0,
    video_timeout: VideoTimeoutOption = 300.0,
    formats: FormatsOption = "jpeg,png,webp",
    token: TokenOption = "",
    cors: CorsOption = None,
    device: options.DeviceOption = "cpu",
    backend: options.BackendOption = "onnxruntime",
) -> None:
    """Serve a page that marks faces in the browser, and the same over HTTP.

    Pictures, videos and the camera of the page stay in the browser. The service is described in /openapi.json.
    SIGTERM or Ctrl-C finish what is under way; the exit code is then 0.
    """
    require("fastapi", extra="web")
    from canthus.web.app import Service, create_app
    from canthus.web.server import bound_socket, run
    from canthus.web.workers import Workers

    limits = Limits(
        round(max_body * MB), round(max_video * MB), round(max_pixels * MB), timeout, video_timeout,
        queue, per_client, streams, tuple(lookup(FORMATS, name.strip(), kind="format") for name in formats.split(",")),
    )  # fmt: skip
    pipeline = load_pipeline(
        model, detector=detector or "default", min_score=min_score, min_confidence=min_confidence,
        device=device, backend=backend,
    )  # fmt: skip
    files = _page_files(model, detector) if page else {}
    listening = bound_socket(host, port)
    service = Service(files, Workers(processes or processors(), pipeline, limits), limits, token, tuple(cors or ()))
    app = create_app(service)
    _greet(host, listening.getsockname()[1], service_only=not page, token=bool(token), open_page=open_page)
    run(service, app, listening)


def _page_files(model: str, detector: str | None) -> dict[str, Content]:
    if detector in ("haar", "yunet", "none"):
        raise ConfigError(f"The page runs the detectors of canthus, not {detector}; add --no-page, or leave it out")
    fetch_runtime()
    # The page counts blinks.
    shown = FATIGUE if model == "default" else model
    return page_files(shown, "default" if detector in (None, "canthus") else detector)


def fetch_runtime() -> None:
    """Fetch what runs the networks in a browser, unless it is there.

    Raises:
        ModelFileError: it cannot be fetched.
    """
    if not is_fetched(ONNXRUNTIME_WEB):
        size = ONNXRUNTIME_WEB.size_bytes / MB
        typer.echo(f"fetching {ONNXRUNTIME_WEB.file} once, {size:.0f} MB (canthus fetch web)", err=True)
        fetch(ONNXRUNTIME_WEB)


def _greet(host: str, port: int, *, service_only: bool, token: bool, open_page: bool | None) -> None:
    from canthus.web.app import is_local

    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/"
    typer.echo(f"{address}  service: {address}v1/detect, {address}openapi.json; Ctrl-C ends it")
    if not token and not is_local(host):
        Console(stderr=True, highlight=False).print(
            f"[bold yellow]warning:[/] whoever reaches {host} may use the service, unless CANTHUS_TOKEN is set"
        )
    screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not service_only and (open_page or (open_page is None and sys.stdout.isatty() and screen)):
        webbrowser.open(address)
