"""Ready series through the model, one after the other, by a thread of its own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...atomic import FolderWriter
from ...dicom.enhance import EnhancedSeries, enhance
from ...dicom.files import find_files, frame_count, read_header
from ...dicom.series import Series, load_series
from ...errors import Cancelled, EngineError, InputError, OutputError
from ...io import record_writer
from ...spacing import choose_output_shape
from ..logs import Log
from ..metrics import ENHANCED, FAILED, PASSED
from ..room import Room
from .contrast import check_contrast
from .limits import Limits
from .spool import OUTCOME, READY, REFUSED, SENDING, WITH_ORIGINALS, Claim, Spool

# After so many tries that the process did not survive, a series is given up.
MOST_BEGUN = 10
# Until a result that could not be written is made again.
_DISK_SECONDS = 30.0


class _GivenUp(Exception):
    """A series is not tried once more."""


@dataclass(frozen=True)
class Asked:
    """What is asked of the model, and which series are for it.

    Attributes
    ----------
    spacing, steps, seed, planes
        As in `Session.infer_scan`.
    any_contrast : bool
        Take every magnitude of every part for a T1-weighted head.
    send_originals : bool
        Also send every series as it came, whatever became of it.
    """

    spacing: float | None
    steps: int | None
    seed: int
    planes: int | None
    any_contrast: bool
    send_originals: bool


class Enhancing:
    """Turns what is ready into what is to be sent, or into what is refused.

    Parameters
    ----------
    spool : Spool
    room : Room
        Its `stopping` ends the work after the series that was begun.
    asked : Asked
    limits : Limits
    give_up : threading.Event
        Ends the series that was begun, too: it is begun again at the next start.
    made : callable
        Called when there is something to send.
    log : Log
    """

    def __init__(
        self,
        spool: Spool,
        room: Room,
        asked: Asked,
        limits: Limits,
        give_up: threading.Event,
        made: Callable[[], object],
        log: Log,
    ) -> None:
        self._spool = spool
        self._room = room
        self._asked = asked
        self._limits = limits
        self._give_up = give_up
        self._made = made
        self._log = log
        self._ready = threading.Event()

    def look(self) -> None:
        """See that something is ready."""
        self._ready.set()

    def run(self) -> None:
        """Work until the room's `stopping` is set and `look` was called."""
        stopping = self._room.stopping
        while not stopping.is_set():
            self._ready.clear()
            # Last what has ended the process before: it holds up no other.
            for series in sorted(self._spool.series_in(READY), key=self._spool.begun):
                if stopping.is_set():
                    return
                if not self._work_on(series):
                    stopping.wait(_DISK_SECONDS)
                    self._ready.set()
            self._ready.wait()

    def _work_on(self, series: str) -> bool:
        """Bring a series to its next state; False if the disk did not take the result."""
        log = self._log.bind(series=series)
        claim = None
        try:
            claim = self._spool.claim(series)
            state, outcome, result = self._result(claim, log)
            name = self._spool.settle(claim, result, state)
        except Cancelled:
            log.info("series set back: " + ("stopping" if self._give_up.is_set() else "more came"))
            settled = True
        except (OutputError, OSError) as error:
            log.error("result not written", reason=type(error).__name__)
            log.debug("result not written", exc_info=True)
            settled = False
        else:
            self._tell(log, state, outcome, name)
            return True
        if claim is not None:
            self._spool.give_back(claim)
        return settled

    def _tell(self, log: Log, state: str, outcome: str, name: str) -> None:
        self._room.metrics.series.labels(outcome).inc()
        log.info("series " + ("refused" if state == REFUSED else "to be sent"), folder=name)
        if state == SENDING:
            self._made()

    def _result(self, claim: Claim, log: Log) -> tuple[str, str, FolderWriter]:
        """The next state, the outcome for the counts, and the files that go with it."""
        try:
            made = self._enhance(claim)
        except InputError as error:
            outcome, reason = PASSED, str(error)
            log.info("series not enhanced")
            # Its words may quote the header.
            log.debug("series not enhanced", reason=reason)
        except (Cancelled, OSError):
            raise
        except Exception as error:
            # Whatever it is: the next series gets its turn. Its words may quote the file.
            outcome, reason = FAILED, f"unexpected {type(error).__name__}"
            if isinstance(error, _GivenUp | EngineError):
                reason = str(error)
            log.error("series failed", reason=reason)
            log.debug("series failed", exc_info=True)
        else:
            log.info(
                "series enhanced",
                instances=len(made.derived.source.instances),
                sent=len(made.derived),
            )
            outcome_file = self._record(ENHANCED, made.record)
            return SENDING, ENHANCED, {**made.derived.folder(), **outcome_file}
        state = SENDING if self._asked.send_originals else REFUSED
        return state, outcome, self._record(outcome, {"Reason": reason})

    def _record(self, outcome: str, more: Mapping[str, Any]) -> FolderWriter:
        """What is to be known later: the server may be started with other options then."""
        originals = self._asked.send_originals
        return {OUTCOME: record_writer({"Outcome": outcome, WITH_ORIGINALS: originals, **more})}

    def _enhance(self, claim: Claim) -> EnhancedSeries:
        def cancel() -> bool:
            return self._give_up.is_set() or claim.reopened.is_set()

        if claim.begun > MOST_BEGUN:
            raise _GivenUp(
                f"expected a series that can be enhanced, the server ended {MOST_BEGUN} times "
                "while it tried; is there too little memory for it?"
            )
        try:
            self._check_size(claim.folder)
            series = load_series(claim.folder)
        except (InputError, OSError):
            if claim.reopened.is_set():
                # Its folder was renamed while it was read.
                raise Cancelled("more of the series has come") from None
            raise
        if not self._asked.any_contrast:
            check_contrast(series)
        with self._room.model.turn(cancel) as session:
            self._check_result(series, session.bundle)
            with self._room.metrics.seconds.time():
                return enhance(
                    session,
                    series,
                    spacing=self._asked.spacing,
                    steps=self._asked.steps,
                    seed=self._asked.seed,
                    planes=self._asked.planes,
                    cancel=cancel,
                )

    def _check_size(self, folder: Path) -> None:
        """Refuse voxels that do not fit into memory before they are read."""
        voxels = 0
        for path in find_files(folder):
            header = read_header(path, ("Rows", "Columns", "NumberOfFrames"))
            size = (int(header.get(name) or 0) for name in ("Rows", "Columns"))
            voxels += math.prod(size) * max(1, frame_count(header, path.name))
        if voxels > self._limits.input_voxels:
            raise InputError(
                f"expected a series of at most {self._limits.input_voxels} voxels, it has "
                f"{voxels}; is it several volumes?"
            )

    def _check_result(self, series: Series, bundle: Any) -> None:
        grid = series.scan.grid
        shape = choose_output_shape(grid.shape, grid.spacing, self._asked.spacing, bundle)
        if math.prod(shape) > self._limits.output_voxels:
            raise InputError(
                f"expected a result of at most {self._limits.output_voxels} voxels, it would "
                f"have {' x '.join(map(str, shape))}; start the server with a coarser --spacing"
            )
