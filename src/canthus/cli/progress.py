"""Progress bars."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from rich.console import Console
from rich.progress import Progress, TaskID


@final
class LazyBar:
    """Callback (what, done, total): draws a bar from the first call to the one with ``done == total``.

    Args:
        console: where it shows.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far something is."""
        if self._bar is None or self._task is None:
            self._bar = Progress(console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(what, total=total)
        self._bar.update(self._task, description=what, completed=done, total=total)
        if done >= total:
            self._bar.stop()
            self._bar = None


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
