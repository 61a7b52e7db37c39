"""Load ``canthus serve`` with requests from this machine: requests per second and latencies.

Usage: python benchmarks/serve_load.py [PICTURE] [--seconds 10] [--clients 1 4 16] [--processes N]

Needs the extra ``web``.  The service runs on a free port of 127.0.0.1.  For each number of clients, that many threads
send the picture to ``/v1/detect`` again and again, each over one connection, and wait for answers.  The service and the
clients share the processors.  Before and after each run, as many processes run the pipeline without a service for the
same time; the share is that of the mean of both, because the speed of many machines varies.  The processor time of a
request is that of the service and of the client; it tells what the service costs also where other programs run.  At the
end the service gets SIGTERM and must end with code 0.
"""

import argparse
import http.client
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from matplotlib import get_data_path

from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.sessions import processors

WARM_UP = 3
TIMEOUT_S = 60


def bare(data: bytes, seconds: float) -> tuple[int, float]:
    """Pictures that one process marks without a service, and its processor time."""
    cv2.setNumThreads(1)
    pipeline, done = load_pipeline(), 0
    for _ in range(WARM_UP):
        pipeline(data)
    end_s, before_s = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end_s:
        pipeline(data)
        done += 1
    return done, time.process_time() - before_s


@contextmanager
def service(processes: int, clients: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The service, and its port."""
    options = ["--no-page", "--port", "0", "--processes", str(processes), "--per-client", "0", "--queue", str(clients)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "canthus", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            greeting = next(iter(server.stdout or ()), "")  # http://127.0.0.1:PORT/  service: ...
            yield server, int(greeting.split("/")[2].split(":")[1])
            server.send_signal(signal.SIGTERM)
            print(f"SIGTERM: exit code {server.wait(TIMEOUT_S)}")
        finally:
            server.kill()


def client(port: int, data: bytes, end_s: float, times: list[float], statuses: Counter[int | str]) -> None:
    """Send the picture until the time is over."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    while time.perf_counter() < end_s:
        start_s = time.perf_counter()
        try:
            connection.request("POST", "/v1/detect", data)
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
        except OSError as error:
            statuses[type(error).__name__] += 1
            connection.close()
        times.append(time.perf_counter() - start_s)
    connection.close()


def load(port: int, data: bytes, clients: int, seconds: float) -> tuple[list[float], Counter[int | str], float]:
    """Times of requests, their statuses, and how long all took."""
    times: list[float] = []
    statuses: Counter[int | str] = Counter()
    start_s = time.perf_counter()
    arguments = (port, data, start_s + seconds, times, statuses)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, statuses, time.perf_counter() - start_s


def processes_of(pid: int) -> list[int]:
    """The service and its processes; none where there is no /proc."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(number) for path in tasks for number in path.read_text().split()]
    return [pid, *children] if children else []


def resident_mb(pid: int) -> float:
    """Memory of the service."""
    pages = [int(Path(f"/proc/{number}/statm").read_text().split()[1]) for number in processes_of(pid)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def spent_s(pid: int) -> float:
    """Processor time of the service and of the clients so far."""
    rows = [Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split() for number in processes_of(pid)]
    return sum(int(row[11]) + int(row[12]) for row in rows) / os.sysconf("SC_CLK_TCK") + time.process_time()


def main() -> None:
    """Measure, print a line for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path, default=Path(get_data_path()) / "sample_data/grace_hopper.jpg")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--processes", type=int, default=processors())
    options = parser.parse_args()
    data, seconds = options.picture.read_bytes(), float(options.seconds)
    with (
        multiprocessing.get_context("spawn").Pool(options.processes) as pool,
        service(options.processes, max(options.clients)) as (server, port),
    ):

        def alone() -> float:
            counts, times = zip(*pool.starmap(bare, [(data, seconds)] * options.processes, chunksize=1), strict=True)
            rate, each_ms = float(sum(counts) / seconds), 1000 * sum(times) / sum(counts)
            count = options.processes
            print(f"pipeline alone, processes {count}: {rate:.1f} pictures/s, {each_ms:.1f} ms of a processor each")
            return rate

        load(port, data, 2 * options.processes, 2)  # the processes start
        before = alone()
        for clients in options.clients:
            begin_s = spent_s(server.pid)
            times, statuses, took_s = load(port, data, clients, seconds)
            each_ms = 1000 * (spent_s(server.pid) - begin_s) / len(times)
            p50, p95, p99 = 1000 * np.percentile(times, [50, 95, 99])
            rate, after = statuses[200] / took_s, alone()
            share, before = 2 * rate / (before + after), after
            answers = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items(), key=str))
            print(
                f"clients {clients}: {rate:.1f} requests/s ({share:.0%}), {each_ms:.1f} ms of a processor each; "
                f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; {answers}; {resident_mb(server.pid):.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
