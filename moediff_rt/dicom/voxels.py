"""The voxels of frames, with their rescale slope and intercept applied."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .decoding import Decoder, decode
from .encoded import check_encoded
from .files import unreadable
from .frames import Frame
from .package import pydicom, quiet

# pydicom reads these by itself, without another package.
_DECODED_HERE = ("1.2.840.10008.1.2.5",)


def read_voxels(frames: Sequence[Frame]) -> tuple[npt.NDArray[np.float32], str]:
    """Read the volume that frames in order make.

    Parameters
    ----------
    frames : sequence of Frame
        In order, all of one size.

    Returns
    -------
    (columns, rows, slices) float32 array
        Fortran order, as `io.Scan` has it.
    str
        SHA-256 of the stored voxels, in order.

    Raises
    ------
    InputError
        A file is damaged, or compressed in a way that cannot be decoded here.
    """
    first = frames[0]
    data = np.empty((first.columns, first.rows, len(frames)), np.float32, order="F")
    digest = hashlib.sha256()
    left = Counter(frame.instance.path for frame in frames)
    decoded: dict[Path, npt.NDArray[Any]] = {}
    with Decoder() as decoder:
        for k, frame in enumerate(frames):
            path = frame.instance.path
            if path not in decoded:
                decoded[path] = _decode(frame, decoder)
            stored = decoded[path][frame.index]
            left[path] -= 1
            if not left[path]:
                del decoded[path]
            digest.update(np.ascontiguousarray(stored).tobytes())
            values = stored.astype(np.float32) * np.float32(frame.slope)
            values += np.float32(frame.intercept)
            padding = _padding(frame.instance.header)
            if padding is not None:
                values[(stored >= padding[0]) & (stored <= padding[1])] = 0
            data[..., k] = values.T
    return data, digest.hexdigest()


def _decode(frame: Frame, decoder: Decoder) -> npt.NDArray[Any]:
    """Voxels of a file, (frames, rows, columns), in the range that its bits hold."""
    dicom = pydicom()
    path = frame.instance.path
    try:
        with quiet():
            dataset = dicom.dcmread(path, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
            _check_voxels(dataset, frame.instance.name)
            syntax = dataset.file_meta.TransferSyntaxUID
            here = not syntax.is_encapsulated or syntax in _DECODED_HERE or not sys.executable
            values = decode(dataset) if here else decoder(path)
            stored, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    values = values.reshape(-1, frame.rows, frame.columns)
    if values.dtype.kind in "iu" and stored < allocated:
        # Old files keep overlays in the bits above; a signed value's sign is in its highest bit.
        shift = 8 * values.dtype.itemsize - stored
        values = (values << shift) >> shift
    return values


def _check_voxels(dataset: Any, name: str) -> None:
    if "PixelData" not in dataset:
        raise InputError(
            f"expected voxels in {name}, found none in PixelData; truncated, or not an image? "
            "Copy or export it again"
        )
    if (bits := int(dataset.get("BitsAllocated", 0))) not in (8, 16):
        raise InputError(
            f"expected 8 or 16 bits a voxel, found BitsAllocated {bits} in {name}; "
            "its header is damaged: export it again"
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not decodable(syntax):
        raise InputError(
            f"expected voxels that can be decoded, found {syntax.name} in {name}; "
            "pip install 'moediff-rt[dicom]' for its codecs, or unpack it first (gdcmconv --raw)"
        )
    if syntax.is_encapsulated:
        check_encoded(dataset, name)


def _guessed_syntax(dataset: Any) -> Any:
    """Transfer syntax of a file without a header that says it: as its attributes are written."""
    uid = pydicom().uid
    implicit, little = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def decodable(syntax: Any) -> bool:
    """Say whether a compressed transfer syntax (pydicom UID) can be decoded on this computer."""
    if not syntax.is_encapsulated or syntax in _DECODED_HERE:
        return True
    try:
        return bool(pydicom().pixels.get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _padding(header: Any) -> tuple[int, int] | None:
    """Range of stored values that mean "no signal here"; None without one."""
    low = header.get("PixelPaddingValue")
    if not isinstance(low, int):
        return None
    high = header.get("PixelPaddingRangeLimit")
    high = high if isinstance(high, int) else low
    return min(low, high), max(low, high)
