"""What is ready to be sent to the peer, until it has all of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...dicom.package import pydicom
from ..hold import Hold
from ..logs import Log
from ..metrics import Metrics
from .guard import Guard
from .limits import Limits
from .package import AE, build_context, evt
from .spool import SENDING, Spool

_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_CONNECT_SECONDS = 15.0
# For the peer to answer one instance.
_ANSWER_SECONDS = 120.0
_FIRST_RETRY_SECONDS = 1.0
# A peer takes at most 128 presentation contexts.
_MOST_CONTEXTS = 120
# PS3.7 annex C. Equal UIDs are of equal instances: it was sent before, and the answer was lost.
_DUPLICATE_INSTANCE = 0x0111
# PS3.8 table 9-21: for good, by the application, which does not say that titles are why.
_REJECTED_WITHOUT_REASON = (1, 1, 1)


@dataclass(frozen=True)
class Peer:
    """Where results go.

    Attributes
    ----------
    host, port, title : str, int, str
        `title` is its AE title.
    """

    host: str
    port: int
    title: str


class Backoff:
    """How long to wait before the next try: twice as long each time, up to a bound.

    Examples
    --------
    >>> backoff = Backoff(most=5.0)
    >>> [backoff.next() for _ in range(4)]
    [1.0, 2.0, 4.0, 5.0]
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._seconds = min(_FIRST_RETRY_SECONDS, most)

    def next(self) -> float:
        """Seconds to wait now."""
        seconds, self._seconds = self._seconds, min(2 * self._seconds, self._most)
        return seconds


class _Unreachable(Exception):
    """The peer cannot be reached, or takes no association."""


class _Declined(Exception):
    """The peer takes no association for what a series is of; for others it may."""


class _Ended(Exception):
    """The association ended early."""


class Sending:
    """Sends one series after the other. What the peer has is removed from the spool.

    What the peer did not take of a series is tried again later, that alone; other series are not
    held up by it, nor by one of a kind that the peer does not take. While the peer cannot be
    reached at all, nothing else is tried.

    Parameters
    ----------
    spool : Spool
    peer : Peer
    title : str
        AE title to call from.
    most_wait : float
        Bound of the time between two tries, s.
    limits : Limits
    stopping, give_up : threading.Event
        End after the series, or the instance, that is being sent.
    metrics : Metrics
    log : Log
    """

    def __init__(
        self,
        spool: Spool,
        peer: Peer,
        title: str,
        *,
        most_wait: float,
        limits: Limits,
        stopping: threading.Event,
        give_up: threading.Event,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._spool, self._peer = spool, peer
        self._most_wait = most_wait
        self._limits = limits
        self._hold = Hold(4 * limits.instance_bytes)
        self._stopping, self._give_up = stopping, give_up
        self._metrics, self._log = metrics, log
        self._wake = threading.Event()
        # By series: not before, and how long after that.
        self._later: dict[str, tuple[float, Backoff]] = {}
        self._entity = AE(ae_title=title)
        self._entity.acse_timeout = self._entity.connection_timeout = _CONNECT_SECONDS
        self._entity.dimse_timeout = self._entity.network_timeout = _ANSWER_SECONDS

    def look(self) -> None:
        """See that something is to be sent, or that the server stops."""
        self._wake.set()

    def run(self) -> None:
        """Work until `stopping` is set and `look` was called."""
        unreachable = Backoff(self._most_wait)
        while not self._stopping.is_set():
            self._wake.clear()
            now = time.monotonic()
            series = self._spool.series_in(SENDING)
            self._later = {name: when for name, when in self._later.items() if name in series}
            due = [one for one in series if one not in self._later or self._later[one][0] <= now]
            try:
                for one in due:
                    if self._stopping.is_set():
                        return
                    self._send_or_later(one)
                    unreachable = Backoff(self._most_wait)
            except _Unreachable as error:
                wait = unreachable.next()
                self._log.warning("peer not reached", reason=str(error), again_after_s=wait)
                # A new series is no reason to try again earlier.
                self._stopping.wait(wait)
                continue
            waiting = [when for when, _backoff in self._later.values()]
            # From now on: to send may have taken minutes.
            self._wake.wait(max(0.0, min(waiting) - time.monotonic()) if waiting else None)

    def _send_or_later(self, series: str) -> None:
        log = self._log.bind(series=series)
        try:
            paths = self._spool.to_send(series)
            failed = self._send_files(paths) if paths else Counter[str]()
            if not failed:
                self._spool.remove(series, SENDING)
        except _Unreachable:
            raise
        except Exception as error:
            # Whatever it is: the other series are sent.
            log.debug("series not sent", exc_info=True)
            failed = Counter([f"unexpected {type(error).__name__}"])
        if not failed:
            self._later.pop(series, None)
            log.info("series sent", instances=len(paths))
            return
        _when, backoff = self._later.get(series, (0.0, Backoff(self._most_wait)))
        wait = backoff.next()
        self._later[series] = (time.monotonic() + wait, backoff)
        log.warning(
            "instances not taken by the peer",
            instances=sum(failed.values()),
            reasons=dict(failed),
            again_after_s=wait,
        )

    def _send_files(self, paths: Sequence[Path]) -> Counter[str]:
        """Send files; why how many of them were not taken."""
        failed = Counter[str]()
        try:
            association = self._associate(set(map(_kind, paths)))
        except _Declined as declined:
            return Counter({str(declined): len(paths)})
        try:
            for number, path in enumerate(paths):
                if self._give_up.is_set():
                    raise _Ended("stopping")
                reason = self._send_file(association, path, number % 65535 + 1)
                if reason is None:
                    self._spool.drop(path)
                    self._metrics.images_sent.inc()
                else:
                    failed[reason] += 1
            association.release()
        except _Ended as ended:
            failed[str(ended)] += 1
        finally:
            if association.is_established:
                association.abort()
        return failed

    def _associate(self, kinds: set[tuple[str, str]]) -> Any:
        wanted = sorted(
            {(kind, () if syntax in _UNCOMPRESSED else (syntax,)) for kind, syntax in kinds}
        )
        contexts = [
            build_context(sop_class, list(syntaxes or _UNCOMPRESSED))
            for sop_class, syntaxes in wanted[:_MOST_CONTEXTS]
        ]
        try:
            association = self._entity.associate(
                self._peer.host,
                self._peer.port,
                ae_title=self._peer.title,
                contexts=contexts,
                evt_handlers=[(evt.EVT_CONN_OPEN, self._guard)],
            )
        except OSError as error:
            raise _Unreachable(f"its address is not known ({type(error).__name__})") from error
        if association.is_established:
            return association
        answer = association.acceptor.primitive
        if association.is_rejected:
            said = (answer.result, answer.result_source, answer.diagnostic)
            if said == _REJECTED_WITHOUT_REASON:
                raise _Declined("association rejected")
            raise _Unreachable("it rejects us")
        if answer is not None and answer.result == 0:
            # pynetdicom breaks off an association of which no context was accepted.
            raise _Declined("no presentation context")
        raise _Unreachable("no association")

    def _guard(self, event: Any) -> None:
        """Bound what the peer answers, too."""
        wire = event.assoc.dul.socket
        wire.socket = Guard(wire.socket, self._limits, self._hold.share(), on_refused=self._refused)

    def _refused(self, reason: str) -> None:
        self._metrics.refused.labels("answer").inc()
        self._log.warning("answer of the peer refused", reason=reason)

    def _send_file(self, association: Any, path: Path, number: int) -> str | None:
        """Send one instance; why it was not taken, or None."""
        try:
            status = association.send_c_store(path, msg_id=number)
        except RuntimeError as error:
            raise _Ended("the association ended") from error
        except ValueError:
            # pynetdicom raises it for either.
            if _takes(association, _kind(path)):
                return "cannot be encoded"
            return "no presentation context"
        except Exception as error:
            return f"unexpected {type(error).__name__}"
        if "Status" not in status:
            raise _Ended("no answer")
        code = int(status.Status)
        # 0xBxxx: stored, with a remark.
        if code in (0, _DUPLICATE_INSTANCE) or code >> 12 == 0xB:
            return None
        return f"0x{code:04X}"


def _takes(association: Any, kind: tuple[str, str]) -> bool:
    """Say whether the peer has accepted a context for a SOP class and transfer syntax."""
    sop_class, syntax = kind
    syntaxes = _UNCOMPRESSED if syntax in _UNCOMPRESSED else (syntax,)
    return any(
        context.abstract_syntax == sop_class and context.transfer_syntax[0] in syntaxes
        for context in association.accepted_contexts
    )


def _kind(path: Path) -> tuple[str, str]:
    """SOP class and transfer syntax of a file, from its header."""
    meta = pydicom().filereader.read_file_meta_info(path)
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
