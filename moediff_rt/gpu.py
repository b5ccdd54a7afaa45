"""What runs a bundle's modules on a GPU, as the C++ scheduler asks for it.

The scheduler has the GPU's memory, streams and graphs; an executor only queues modules. Its
`enqueue` is called when a loop of some batch is first seen and once more while that loop is
captured in a CUDA graph: from then on replays do without Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ._core import EngineReport

Tensor = tuple[str, Sequence[int], str]


class GpuModule(Protocol):
    """A compiled module.

    Attributes
    ----------
    inputs, outputs : sequence of (name, shape without the batch, type)
        Types are "float32", "float16" or "bfloat16"; the order is that of `enqueue`.
    report : EngineReport
        How it came to be.
    """

    @property
    def inputs(self) -> Sequence[Tensor]: ...  # noqa: D102
    @property
    def outputs(self) -> Sequence[Tensor]: ...  # noqa: D102
    @property
    def report(self) -> EngineReport: ...  # noqa: D102

    def scratch_bytes(self, batch: int) -> int:
        """Device memory that `enqueue` needs beside the tensors, bytes."""
        ...

    def enqueue(
        self,
        batch: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        scratch: int,
        stream: int,
    ) -> None:
        """Queue the module.

        Parameters
        ----------
        batch : int
            A power of two up to the executor's largest.
        inputs, outputs : sequence of int
            Device addresses of dense tensors, batch first.
        scratch : int
            Address of `scratch_bytes(batch)` bytes, its own until the stream has done this.
        stream : int
            A ``cudaStream_t``, perhaps being captured: nothing but work on it is allowed then. A
            capture only comes with a batch and addresses that it was called with before.

        Raises
        ------
        Exception
            Whatever says that it was not queued; the run ends with it.
        """
        ...


class Executor(Protocol):
    """Loads modules for one GPU.

    Attributes
    ----------
    backend, device, precision : str
        For people to read.
    largest_batch : int
        Of one call, a power of two.
    captures : bool
        Whether calls may be captured in a CUDA graph.
    concurrent : bool
        Whether the experts run side by side, on streams of their own, or one after the other; then
        they share scratch memory.
    """

    @property
    def backend(self) -> str: ...  # noqa: D102
    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def largest_batch(self) -> int: ...  # noqa: D102
    @property
    def captures(self) -> bool: ...  # noqa: D102
    @property
    def concurrent(self) -> bool: ...  # noqa: D102

    def load(
        self,
        module: str,
        onnx_path: str,
        onnx_sha256: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> GpuModule:
        """Load a module.

        Parameters
        ----------
        module : str
            "encoder", "conditioner", "gate", "expert_0", ... or "decoder".
        onnx_path, onnx_sha256 : str
            Its file in the bundle.
        inputs, outputs : sequence of str
            Names, in the order in which `enqueue` will be given them.

        Raises
        ------
        EngineError
            It cannot be loaded.
        """
        ...
