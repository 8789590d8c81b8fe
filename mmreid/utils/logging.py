import contextlib
import logging
from collections.abc import Iterator

from mmengine.logging import MMLogger


@contextlib.contextmanager
def warnings_only() -> Iterator[None]:
    """Keep MMEngine's logger to warnings.

    It writes a line for each parameter that it initialises, or that has an
    option of its own in the optimiser: hundreds.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
