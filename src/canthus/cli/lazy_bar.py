"""A progress bar that is there only while something counts, so that it leaves the line to others in between."""

from typing import final

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
