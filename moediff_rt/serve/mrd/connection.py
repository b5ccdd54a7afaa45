"""One peer, from its first byte to the close message that ends its answer."""

from __future__ import annotations

import json
import re

from ...errors import InputError
from ..errors import PeerGone, Refused, Stopping
from ..hold import Share
from ..logs import Log
from ..metrics import FAILED, PASSED, Metrics
from .answers import STOPPING, Answers, Settings
from .contrast import Protocol, check_contrast, check_magnitude, read_protocol
from .images import MrdImage
from .messages import Kind, read_message
from .series import Collected, Series
from .wire import Wire


class Connection:
    """Reads what a peer sends, and has each image answered when its fate is known.

    An image that the model is not for goes back at once, and a 3-D image is a volume at once.
    Slices are collected up to the close message: images of several series may be mixed, and
    nothing before it says for sure that the last slice of a series has come.

    Parameters
    ----------
    wire : Wire
    answers : Answers
    settings : Settings
    share : Share
        Pays for the images held.
    metrics : Metrics
    log : Log
    """

    def __init__(
        self,
        wire: Wire,
        answers: Answers,
        settings: Settings,
        share: Share,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._wire = wire
        self._answers = answers
        self._any_contrast = settings.any_contrast
        self._limits = settings.limits
        self._share = share
        self._metrics = metrics
        self._log = log
        self._collected = Collected(settings.limits)
        self._protocol = Protocol()
        self._passed: set[tuple[int, str]] = set()
        self._told_about_raw = False

    def run(self) -> None:
        """Serve the peer; its leaving, and the server's end, are no errors."""
        try:
            why_not = self._receive()
        except PeerGone as gone:
            self._log.info("peer gone", reason=str(gone))
            self._wire.break_off()
            return
        if why_not is not None:
            self._log.warning("connection cut short", reason=why_not)
            self._answers.tell("ERR", f"slices are returned as they came: {why_not}")
        for series in self._collected.take():
            if why_not is None:
                self._answers.enhance(series, self._protocol.acquisition)
            else:
                self._answers.give_back(series, FAILED, why_not)
        self._answers.close()

    def _receive(self) -> str | None:
        """Read up to the close message; the reason for which slices may be missing, or None."""
        patience = self._limits.first_seconds
        try:
            while True:
                message = read_message(self._wire, self._limits, self._share, patience)
                patience = self._limits.idle_seconds
                if message is None:
                    return (
                        "expected a close message (4) after the images, the connection was ended "
                        "without one; were all images sent?"
                    )
                if message.kind is Kind.CLOSE:
                    return None
                self._take(message.kind, message.content)
        except Refused as refused:
            self._metrics.refused.labels("message").inc()
            return str(refused)
        except Stopping:
            return STOPPING

    def _take(self, kind: Kind, content: str | MrdImage | None) -> None:
        if isinstance(content, MrdImage):
            self._metrics.images_received.inc()
            self._take_image(content)
        elif kind is Kind.HEADER and content is not None:
            self._protocol = read_protocol(content)
        elif kind is Kind.ACQUISITION and not self._told_about_raw:
            self._told_about_raw = True
            self._metrics.refused.labels("raw data").inc()
            self._answers.tell(
                "ERR",
                "expected reconstructed images (1022), got raw acquisitions (1008), which are "
                "left aside; this server sharpens images: reconstruct first",
            )
        elif content:
            self._log.debug("text", kind=int(kind), text=content)
            if asks_for_originals(content):
                self._answers.send_originals = True

    def _take_image(self, image: MrdImage) -> None:
        index = int(image.head.image_series_index)
        self._answers.receive(index)
        try:
            if self._any_contrast:
                check_magnitude(image)
            else:
                check_contrast(image, self._protocol)
        except InputError as error:
            self._say_once(index, str(error))
            self._answers.pass_on(image)
            return
        if image.shape[1] > 1:
            self._answers.enhance(Series(index, [image]), self._protocol.acquisition)
        else:
            self._collected.add(image)

    def _say_once(self, index: int, reason: str) -> None:
        """Tell, log and count a series whose images pass through, with its first image."""
        if (index, reason) in self._passed or len(self._passed) == self._limits.volumes:
            return
        self._passed.add((index, reason))
        self._metrics.series.labels(PASSED).inc()
        self._log.info("series passes", series=index, reason=reason)
        self._answers.tell("WRN", f"series {index} passes as it came: {reason}")


def asks_for_originals(text: str) -> bool:
    """Say whether a configuration text, FIRE's JSON, asks for the originals, too.

    Examples
    --------
    >>> asks_for_originals('{"parameters": {"sendOriginal": "True"}}')
    True
    >>> asks_for_originals("moediff")
    False
    """
    try:
        parameters = json.loads(text)["parameters"]
        asked = {re.sub(r"s$", "", key.lower()): value for key, value in parameters.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    return str(asked.get("sendoriginal", "")).strip().lower() in ("true", "1", "yes", "on")
