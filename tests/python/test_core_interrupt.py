"""Ctrl-C in the middle of a volume and of a load."""

import signal
import subprocess
import sys

import pytest
from tiny_bundle import make_bundle

ENHANCE = """
import sys
import numpy as np
from moediff_rt import _core

model = _core.Model(_core.load_bundle(sys.argv[1]), threads=2)
volume = np.zeros((8000, 64, 64), np.float32)
boxes = np.tile(np.array([0, 64, 0, 64], np.int32), (8000, 1))

def progress(done, total):
    if done > 0:
        print("running", flush=True)

try:
    model.enhance(volume, boxes, progress=progress)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

LOAD = """
import sys
from moediff_rt import _core

bundle = _core.load_bundle(sys.argv[1])
try:
    _core.Model(bundle, threads=2, on_engine=lambda report: print("running", flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    ("program", "expert_layers"), [(ENHANCE, 20), (ENHANCE, 20), (ENHANCE, 20), (LOAD, 300)]
)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_raises_keyboard_interrupt_and_the_process_ends_well(
    tmp_path, program, expert_layers
):
    folder = make_bundle(tmp_path / "slow", expert_layers=expert_layers)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().splitlines()[-1] == "interrupted"
        assert process.wait() == 0
