"""What a peer is answered, in the order in which it became known, by a thread of its own."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from ...errors import Cancelled, EngineError, InputError
from ...leaving import ModelThread
from ..errors import PeerGone, Refused
from ..hold import Share
from ..logs import Log
from ..metrics import ENHANCED, FAILED, PASSED
from ..room import Room
from .enhance import Asked, Result, Volume
from .images import MrdImage
from .limits import Limits
from .messages import send_close, send_image, send_text
from .numbering import Numbering
from .series import Series
from .wire import Wire

STOPPING = "the server is stopping; send again later"


@dataclass(frozen=True)
class Settings:
    """What the server was started with.

    Attributes
    ----------
    asked : Asked
    send_originals : bool
        Send the originals before what was made of them.
    any_contrast : bool
        Take every magnitude for T1-weighted.
    limits : Limits
    """

    asked: Asked
    send_originals: bool
    any_contrast: bool
    limits: Limits


class Answers:
    """Enhances and sends, one thing after the other; the peer's next message is read meanwhile.

    So a peer may send all it has before it reads: what waits is held at its `share`'s expense.
    Inside the `with` block the thread runs; leaving it waits for the last answer.

    Parameters
    ----------
    wire : Wire
        Broken off when the peer does not take its answers.
    room : Room
    settings : Settings
    share : Share
        Is given back what was sent.
    give_up : callable
        True when a run of the model has to end now.
    log : Log
    """

    def __init__(
        self,
        wire: Wire,
        room: Room,
        settings: Settings,
        share: Share,
        give_up: Callable[[], bool],
        log: Log,
    ) -> None:
        self.send_originals = settings.send_originals
        self._wire = wire
        self._room = room
        self._asked = settings.asked
        self._limits = settings.limits
        self._share = share
        self._give_up = lambda: give_up() or wire.is_broken()
        self._log = log
        self._steps: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._numbering = Numbering()
        self._last_number: Counter[int] = Counter()
        self._thread = ModelThread(self._work, "mrd answers")

    def __enter__(self) -> Answers:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._steps.put(None)
        self._thread.join()

    def receive(self, series: int) -> None:
        """Take note that images of a series come: no result gets its index from now on."""
        if (source := self._numbering.receive(series)) is not None:
            self._log.warning("series has the index of a result", series=series, result_of=source)

    def tell(self, severity: str, text: str) -> None:
        """Send a text; the severity (DBG, WRN, ERR) is for FIRE's log viewer."""
        self._steps.put(partial(self._tell, severity, text))

    def enhance(self, series: Series, acquisition: str | None) -> None:
        """Send what the model makes of a series, or the series itself if it can make nothing.

        Parameters
        ----------
        series : Series
        acquisition : str or None
            "2D" or "3D", where it is known.
        """
        self._steps.put(partial(self._enhance_or_return, series, acquisition))

    def give_back(self, series: Series, outcome: str, reason: str) -> None:
        """Send a series as it came, and count it."""
        self._steps.put(partial(self._return, series, outcome, reason))

    def pass_on(self, image: MrdImage) -> None:
        """Send an image as it came."""
        self._steps.put(partial(self._pass_on, image))

    def close(self) -> None:
        """Say that nothing follows."""
        self._steps.put(partial(send_close, self._wire, self._limits))

    def _work(self) -> None:
        try:
            while (step := self._steps.get()) is not None:
                step()
        except PeerGone as gone:
            self._log.info("answer not taken", reason=str(gone))
        except Exception as error:
            self._log.error("answer failed", reason=type(error).__name__)
            self._log.debug("answer failed", exc_info=True)
        else:
            return
        self._wire.break_off()

    def _enhance_or_return(self, series: Series, acquisition: str | None) -> None:
        try:
            volume = Volume.of(series.images)
            with self._share.holding(self._asked.result_bytes(volume)):
                self._send_enhanced(series, self._run(volume, acquisition))
            self._share.give(series.held_bytes)
            return
        except PeerGone:
            raise
        except InputError as error:
            outcome, severity, reason = PASSED, "WRN", str(error)
        except (Refused, EngineError) as failed:
            outcome, severity, reason = FAILED, "ERR", str(failed)
        except Cancelled:
            outcome, severity, reason = FAILED, "ERR", STOPPING
        except Exception as error:
            # Whatever it is: the peer gets its images back, and the next series its turn.
            outcome, severity, reason = FAILED, "ERR", f"unexpected {type(error).__name__}"
            self._log.debug(reason, exc_info=True)
        self._tell(severity, f"series {series.index} is returned as it came: {reason}")
        self._return(series, outcome, reason)

    def _run(self, volume: Volume, acquisition: str | None) -> Result:
        with self._room.model.turn(self._give_up) as session:
            with self._room.metrics.seconds.time():
                return self._asked.run(volume, session, self._give_up, acquisition)

    def _send_enhanced(self, series: Series, result: Result) -> None:
        if self.send_originals:
            self._send(series.images)
        first = self._last_number[series.index] + 1
        self._last_number[series.index] += len(result)
        enhanced = self._numbering.enhanced(series.index)
        self._send(result.images(enhanced, first))
        shape = " x ".join(map(str, result.grid.shape))
        self._tell(
            "DBG", f"series {series.index} is enhanced to {shape} voxels, as series {enhanced}"
        )
        self._room.metrics.series.labels(ENHANCED).inc()
        self._log.info(
            "series enhanced",
            series=series.index,
            images=len(series.images),
            sent=len(result),
            shape=shape,
        )

    def _return(self, series: Series, outcome: str, reason: str) -> None:
        self._send(series.images)
        self._share.give(series.held_bytes)
        self._room.metrics.series.labels(outcome).inc()
        self._log.info(
            "series returned",
            series=series.index,
            images=len(series.images),
            outcome=outcome,
            reason=reason,
        )

    def _pass_on(self, image: MrdImage) -> None:
        self._send([image])
        self._share.give(image.held_bytes)

    def _send(self, images: Iterable[MrdImage]) -> None:
        for image in images:
            send_image(self._wire, image, self._limits)
            self._room.metrics.images_sent.inc()

    def _tell(self, severity: str, text: str) -> None:
        send_text(self._wire, f"{severity} moediff-rt: {' '.join(text.split())}", self._limits)
