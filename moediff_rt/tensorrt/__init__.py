"""TensorRT engines: a bundle's graphs in a precision, built, kept and checked.

One path for NVIDIA's Python packages `tensorrt` (10.2 to 11) and `tensorrt_rtx`, whose interfaces
are nearly the same. `tensorrt_rtx` builds without a GPU for the targets it is told; `tensorrt`
builds for the GPU it runs on.
"""
