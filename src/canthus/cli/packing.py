"""The progress bar over the packing of crops, shared by the commands that read whole datasets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


@contextmanager
def packing_bar(console: "Console") -> Iterator[Callable[[str, int, int], None]]:
    """A callback (what, done, total) that draws one bar a dataset; nothing shows while packs come from the cache."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(f"packing {what}", total=total)
            bar.update(tasks[what], completed=done)

        yield show
