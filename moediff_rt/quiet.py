"""What a library says on stderr by itself, kept off it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quieted(logger_name: str) -> Iterator[None]:
    """While inside, no warning is shown, and nothing that the named logger is told.

    Parameters
    ----------
    logger_name : str
        As `logging.getLogger` takes it.
    """
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
