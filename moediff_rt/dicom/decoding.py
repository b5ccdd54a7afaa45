"""Compressed voxels decoded in a process of its own.

Codecs are written in C and C++, and a damaged frame can crash them: then it is that process which
ends, not a server or somebody's session.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .files import damaged
from .package import pydicom, quiet


def decode(dataset: Any) -> npt.NDArray[Any]:
    """Stored voxels of a pydicom Dataset, in this process: as many frames as it says."""
    return np.asarray(
        pydicom().pixels.pixel_array(
            dataset,
            # Those that were checked: an offset table could name others.
            allow_excess_frames=False,
            extended_offsets=None,
            # Else bits above BitsStored are cleared, and nobody sees that there were any.
            correct_unused_bits=False,
        )
    )


class Decoder:
    """Decodes files in a process that is started for the first of them, and again after a crash.

    A context manager: the process ends with it.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()  # it holds nothing that anybody would miss
            self._process.communicate()
            self._process = None

    def __call__(self, path: Path) -> npt.NDArray[Any]:
        """Stored voxels of a file.

        Raises
        ------
        InputError
            They cannot be decoded, or their decoder crashed.
        MemoryError
            The process has not room enough for them.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None and answers is not None
        try:
            to.write(json.dumps(str(path)).encode() + b"\n")
            to.flush()
            said = json.loads(answers.readline())
            if "error" not in said:
                dtype, shape = np.dtype(said["dtype"]), tuple(map(int, said["shape"]))
                voxels = answers.read(dtype.itemsize * math.prod(shape))
                return np.frombuffer(voxels, dtype).reshape(shape)
        except (OSError, ValueError) as error:  # an answer that ends with its process
            self._end()
            raise InputError(
                f"expected voxels that their decoder can read in {path.name}, it crashed on them; "
                "the file is probably damaged: copy or export it again"
            ) from error
        if said["error"] == MemoryError.__name__:
            raise MemoryError
        raise damaged(path, said["error"])


_PROGRAM = "import sys; sys.path[:] = {!r}; from moediff_rt.dicom.decoding import serve; serve()"


def serve() -> None:
    """Answer requests from stdin on stdout until there is none: the process of a `Decoder`.

    A request is a path in JSON, on a line; an answer is a line of JSON, and the voxels after it.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # codecs write there, too
    for line in sys.stdin.buffer:
        voxels = b""
        try:
            with quiet():
                values = decode(pydicom().dcmread(json.loads(line), force=True))
            voxels = values.tobytes()
            said: dict[str, Any] = {"dtype": values.dtype.str, "shape": values.shape}
        except Exception as error:
            said = {"error": type(error).__name__}
        answers.write(json.dumps(said).encode() + b"\n" + voxels)
        answers.flush()
