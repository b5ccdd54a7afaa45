"""The largest tile: the one size of a bundle's tiles that TensorRT's engines are built for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from .._core import Bundle

CHANNELS_LAST = ("tokens", "z_c")


def set_tile(model: onnx.ModelProto, bundle: Bundle) -> None:
    """Give a module's inputs the sizes of the bundle's largest tile, in place.

    Only what the graph leaves free, and not the batch. What was known of other tensors' shapes
    goes: it is found again from the inputs'.

    Parameters
    ----------
    model : onnx.ModelProto
    bundle : Bundle
    """
    grids = {"image": bundle.tile[:2], "slices": bundle.tile[:2], "tokens": bundle.gate[1:]}
    graph = model.graph
    del graph.value_info[:]
    for value in graph.output:
        for dim in value.type.tensor_type.shape.dim[1:]:
            if not dim.HasField("dim_value"):
                dim.Clear()
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        rows = 1 if value.name in CHANNELS_LAST else 2
        sizes = grids.get(value.name, bundle.latent[1:])
        for dim, size in zip(dims[rows : rows + 2], sizes, strict=False):
            if not dim.HasField("dim_value"):
                dim.dim_value = size
