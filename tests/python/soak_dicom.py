"""`moediff-rt serve dicom` killed again and again at any moment, by hand.

    python tests/python/soak_dicom.py --kills 50

Sends series to a server that is killed with SIGKILL after random times and started again, over an
archive that goes away as well, and ends with one line: what was sent, how often it was killed, and
what the archive has. Every series has to have exactly one whole result there, but for those that
were killed so often while the model had them that the server has given them up.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import dicom_series as made
from dicom_peer import Archive, association, free_port, head
from tiny_bundle import make_bundle


class Killed:
    """A server that is killed at random until `stop`, and started again at once."""

    def __init__(self, folder: Path, archive_port: int, seconds: float, rng: random.Random) -> None:
        self.port, self.kills = free_port(), 0
        self.log = folder / "log"
        self._command = [sys.executable, "-m", "moediff_rt", "serve", "dicom", "--threads", "1"]
        self._command += ["--bundle", str(make_bundle(folder / "tiny")), "--port", str(self.port)]
        self._command += ["--spool", str(folder / "spool"), "--quiet-seconds", "0"]
        self._command += ["--broken-seconds", "8", "--retry-most", "1"]
        self._command += ["--send-to", f"127.0.0.1:{archive_port}:PACS"]
        self._spool = folder / "spool"
        self._seconds, self._rng = seconds, rng
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Kill it no more; it goes on until `end`."""
        self._stopping.set()
        self._thread.join()

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(120)

    def refusals(self) -> list[str]:
        """Why series were refused."""
        found = self._spool.glob("refused/*/result/outcome.json")
        return [json.loads(path.read_text())["Reason"] for path in found]

    def _run(self) -> None:
        while True:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(self._command, stderr=log, cwd=self._spool.parent)
            # Most of a start is loading the model: not the moment of interest.
            if self._stopping.wait(3 + self._rng.uniform(0, self._seconds)):
                return
            self.process.kill()
            self.process.wait()
            self.kills += 1


def new_series(number: int) -> list:
    """A series of its own UIDs."""
    images = head("t1 soak")
    for k, image in enumerate(images, 1):
        image.SeriesInstanceUID = f"{made.ROOT}.55.{number}"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = (
            f"{image.SeriesInstanceUID}.{k}"
        )
    return images


def send_whole(port: int, images) -> None:
    """Send a series as a sender with a queue does: all of it again until all was taken."""
    while True:
        with association(port) as sender:
            if sender.is_established:
                try:
                    if all(sender.send_c_store(image).get("Status") == 0 for image in images):
                        return
                except RuntimeError:
                    pass
        time.sleep(0.2)


def wholes(archive: Archive, sources: dict[str, int]) -> int:
    """How many series have exactly one result, and that a whole one."""
    results: dict[str, dict[str, set[str]]] = {}
    for one in archive.results():
        source = one.ReferencedSeriesSequence[0].SeriesInstanceUID
        series = results.setdefault(source, {}).setdefault(one.SeriesInstanceUID, set())
        series.add(one.SOPInstanceUID)
    return sum(
        [len(uids) for uids in results.get(source, {}).values()] == [2 * count]
        for source, count in sources.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0, help="most between two kills")
    options = parser.parse_args()
    rng = random.Random(options.kills)
    with tempfile.TemporaryDirectory() as folder, Archive() as archive:
        server = Killed(Path(folder), archive.port, options.seconds, rng)
        sources = {}
        while server.kills < options.kills:
            images = new_series(len(sources))
            sources[images[0].SeriesInstanceUID] = len(images)
            send_whole(server.port, images)
            time.sleep(rng.uniform(0, 2))
            if rng.random() < 0.2:
                archive.close()
                time.sleep(rng.uniform(0, 3))
                archive.open()
        server.stop()
        deadline = time.monotonic() + 300
        while (
            wholes(archive, sources) + len(server.refusals()) < len(sources)
            and time.monotonic() < deadline
        ):
            time.sleep(0.5)
        code, log, refusals = server.end(), server.log.read_text(), server.refusals()
    whole = wholes(archive, sources)
    given_up = sum("the server ended" in reason for reason in refusals)
    print(f"series={len(sources)} whole={whole} given_up={given_up}", end=" ")
    print(f"kills={server.kills} exit={code}", end=" ")
    print(f"instances={len(archive.instances)} tracebacks={log.count('Traceback')}")
    for reason in set(refusals):
        print(reason)
    if whole + given_up < len(sources) or code or "Traceback" in log:
        sys.exit("soak_dicom: a series has no result, or several, or the log has a traceback")


if __name__ == "__main__":
    main()
