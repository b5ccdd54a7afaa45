"""Structured logs: standard `logging`, one JSON object a line.

No patient data at level info or above: an event's name is our own words, and its fields are
numbers, sizes and words of ours. What a peer sent (names, descriptions, header text, tracebacks
that quote it) is said at level debug alone.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
from collections.abc import Iterator, MutableMapping
from typing import Any, TextIO

ROOT = "moediff_rt.serve"

_FOR_LOGGING = ("exc_info", "stack_info", "stacklevel")


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger whose keyword arguments are the event's fields.

    Examples
    --------
    >>> import sys
    >>> log = Log("mrd", connection=7)
    >>> with logging_as_json("info", sys.stdout):  # doctest: +ELLIPSIS
    ...     log.info("series enhanced", images=20)
    {"time": "...", "level": "info", "from": "mrd", "event": "series enhanced", "connection": 7, \
"images": 20}
    """

    def __init__(self, name: str, **fields: object) -> None:
        super().__init__(logging.getLogger(f"{ROOT}.{name}"), fields)
        self._name = name
        self._fields = fields

    def bind(self, **fields: object) -> Log:
        """Make a log that adds `fields` to each of its events."""
        return Log(self._name, **{**self._fields, **fields})

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the fields where `JsonFormatter` finds them."""
        kept = {key: kwargs[key] for key in _FOR_LOGGING if key in kwargs}
        fields = {key: value for key, value in kwargs.items() if key not in kept}
        return msg, {**kept, "extra": {"fields": {**self._fields, **fields}}}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (UTC), level, from, event, then its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name.removeprefix(f"{ROOT}."),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


@contextlib.contextmanager
def logging_as_json(level: str, stream: TextIO) -> Iterator[None]:
    """While inside, the servers' events go to `stream`, one JSON object a line.

    Parameters
    ----------
    level : str
        The least that is said: debug, info, warning or error.
    stream : text stream
    """
    logger = logging.getLogger(ROOT)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    kept = (logger.level, logger.propagate)
    logger.setLevel(level.upper())
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(kept[0])
        logger.propagate = kept[1]
