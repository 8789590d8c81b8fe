import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from mmengine.dist import is_main_process
from rich.console import Console
from rich.progress import Progress

# Seconds that work may take in silence, and between two lines in a file.
PATIENCE, LINE_INTERVAL = 2.0, 30.0


@contextlib.contextmanager
def progress(
    description: str, total: int, any_rank: bool = False
) -> Iterator[Callable[[], None]]:
    """Show on stderr how far a work is, and how long it will take.

    Nothing for the first seconds; then a bar in a terminal, which goes when
    the work is done, or a line each half minute where stderr is a file.

    Args:
        description (str): What is done, such as 'Extracting features'.
        total (int): Its steps.
        any_rank (bool): Whether only one rank does it, whichever it is.
            Defaults to False: all do, and the first one shows it.

    Yields:
        Callable: To call after each step.
    """
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True)
    task = bar.add_task(description, total=total)
    shown = any_rank or is_main_process()
    start = last = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, last
        done += 1
        bar.advance(task)
        now = time.monotonic()
        if not shown or now - start < PATIENCE or done == total:
            return
        if console.is_terminal:
            # Only here, for it starts a thread: loaders have forked by now.
            bar.start()
        elif now - last > LINE_INTERVAL:
            last = now
            left = round((now - start) / done * (total - done))
            print(
                f'{description}: {100 * done // total} %, '
                f'{timedelta(seconds=left)} left',
                file=sys.stderr,
                flush=True,
            )

    try:
        yield advance
    finally:
        if bar.live.is_started:  # Else this prints an empty line.
            bar.stop()
