"""A long run of hostile and of well-formed peers against `moediff-rt serve mrd`, by hand.

    python tests/python/soak_mrd.py --messages 100000

Starts a server on a bundle that is made for it, in a process of its own, and ends with one line:
what was sent, what was answered, and the server's memory before and after.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from mrd_peer import CLOSE, Peer, head, message, opening, slices_of
from tiny_bundle import make_bundle

SERIES, SLICES = 20, 10


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextlib.contextmanager
def server(folder: Path, port: int):
    command = [sys.executable, "-m", "moediff_rt", "serve", "mrd", "--port", str(port)]
    command += ["--bundle", str(make_bundle(folder / "tiny")), "--log-level", "error"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, cwd=folder)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(120)


def conversation(seed: int, count: int) -> list[bytes]:
    """The messages of a host that sends so many series."""
    parts = [opening()]
    for series in range(1, count + 1):
        volume = head((12, 14, SLICES), seed=seed * count + series)
        parts += [message(image) for image in slices_of(volume, series=series)]
    return [*parts, CLOSE]


def well_formed(port: int, seed: int, count: int) -> tuple[int, int]:
    """(series sent, series answered) of one conversation."""
    with Peer(port) as peer:
        peer.send(*conversation(seed, count))
        images, _ = peer.answer()
    return count, len({image.image_series_index for image in images if len(image.data)})


def broken_off(port: int, rng: random.Random, messages: list[bytes]) -> None:
    """A peer that leaves in the middle of a message."""
    data = b"".join(messages)
    with Peer(port) as peer, contextlib.suppress(OSError):
        peer.send(data[: rng.randrange(len(data))])


def hostile(port: int, rng: random.Random, messages: list[bytes], count: int) -> int:
    """Up to `count` messages on one connection: some true, some damaged, some noise."""
    sent = 0
    with Peer(port) as peer, contextlib.suppress(OSError):
        peer.socket.settimeout(5)
        while sent < count:
            data = bytearray(rng.choice(messages[:30]))
            what = rng.randrange(5)
            if what == 0:
                for _ in range(rng.randrange(1, 9)):
                    data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
            elif what == 1:
                data = data[: rng.randrange(1, len(data) + 1)]
            elif what == 2:
                data = bytearray(rng.randbytes(rng.randrange(1, 300)))
            elif what == 3:
                data = (
                    bytearray(struct.pack("<HI", rng.choice((2, 3, 5)), rng.randrange(1 << 32)))
                    + data[:50]
                )
            peer.send(bytes(data))
            sent += 1
    return sent


def run(port: int, messages: int, peers: int, series: int) -> dict[str, int]:
    """Each peer sends series, its share of the messages, and series again; what came of it."""
    totals = {"series": 0, "answered": 0, "hostile": 0, "connections": 0}
    lock = threading.Lock()
    true = conversation(0, max(series, 3))

    def add(**counts: int) -> None:
        with lock:
            for name, count in counts.items():
                totals[name] += count

    def work(number: int) -> None:
        rng = random.Random(number)
        sent, answered = well_formed(port, number, series)
        add(series=sent, answered=answered, connections=1)
        share = messages // peers
        while share > 0:
            count = hostile(port, rng, true, min(share, rng.randrange(1, 40)))
            share -= max(count, 1)
            add(hostile=count, connections=1)
            if rng.randrange(20) == 0:
                broken_off(port, rng, true)
                add(connections=1)
        sent, answered = well_formed(port, number + peers, series)
        add(series=sent, answered=answered, connections=1)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(peers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--peers", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with server(Path(folder), port) as process:
            run(port, 200, options.peers, SERIES)  # warm
            before = memory_mb(process.pid)
            totals = run(port, options.messages, options.peers, SERIES)
            after = memory_mb(process.pid)
            assert process.poll() is None, "the server has died"
        log = (Path(folder) / "log").read_text()
    print(*(f"{name}={count}" for name, count in totals.items()), end=" ")
    print(f"memory_mb={before:.0f}->{after:.0f} tracebacks={log.count('Traceback')}")
    if totals["answered"] < totals["series"] or "Traceback" in log:
        sys.exit("soak_mrd: a whole series had no answer, or the log has a traceback")


if __name__ == "__main__":
    main()
