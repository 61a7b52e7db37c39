"""Run the service until a signal ends it, and let it finish what is under way."""

import asyncio
import contextlib
import signal
import socket
import sys
from typing import Any

from canthus.errors import ConfigError
from canthus.lookup import require
from canthus.web.app import Service

ENDING_S = 10.0
"""Longest time for open streams to close when the service ends."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        port: 0 for any that is free.

    Raises:
        ConfigError: the address is in use, or is none of this machine.
    """
    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # there it would let two programs listen at once
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)  # who comes while the service starts waits
    except (OSError, OverflowError) as error:
        if listening is not None:
            listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{host}:{port}: cannot be listened to ({reason}); give another --port or --host") from error
    return listening


def run(service: Service, app: Any, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; a second signal ends at once.

    Raises:
        MissingExtraError: uvicorn is not installed.
    """
    uvicorn = require("uvicorn", extra="web")
    require("websockets", extra="web")
    limits = service.limits
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, date_header=False, lifespan="on",
        ws_max_size=limits.body_bytes, ws_max_queue=2, timeout_keep_alive=15,
        timeout_graceful_shutdown=round(limits.video_seconds + limits.seconds),
    )  # fmt: skip
    # uvicorn passes a signal on that came before those below were set
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(uvicorn.Server(config), service, listening))


async def _serve(server: Any, service: Service, listening: socket.socket) -> None:
    running = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not (server.started or running.done()):
        await asyncio.sleep(0.01)
    endings: list[asyncio.Task[None]] = []

    def stop() -> None:
        if endings:
            server.force_exit = True
        endings.append(asyncio.ensure_future(_end(server, service)))

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
    await running


async def _end(server: Any, service: Service) -> None:
    """Take nothing new, close the streams after their answers, then let the server wait for the other requests."""
    service.draining.set()
    for _ in range(round(ENDING_S / 0.02)):
        if not service.sockets:
            break
        await asyncio.sleep(0.02)
    server.should_exit = True
