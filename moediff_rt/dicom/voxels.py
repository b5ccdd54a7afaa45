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
from .files import Instance, unreadable
from .frames import Frame
from .package import pydicom, quiet

# pydicom reads these by itself, without another package.
_DECODED_HERE = ("1.2.840.10008.1.2.5",)
# OverlayBitPosition, 60xx,0102.
_OVERLAYS, _BIT_POSITION = 0x6000, 0x0102


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
        return _without_bits_above(values, stored, frame.instance)
    return values


def _without_bits_above(
    values: npt.NDArray[Any], stored: int, instance: Instance
) -> npt.NDArray[Any]:
    """Clear the bits above those stored, which may hold a sign or an overlay; not a value."""
    size = values.dtype.itemsize
    # A signed value's sign is in its highest bit.
    held = (values << (8 * size - stored)) >> (8 * size - stored)
    signs_alone = np.array_equal(held, values) or not np.any(values.view(f"u{size}") >> stored)
    if not (signs_alone or _has_overlay_above(instance.header, stored)):
        raise InputError(
            f"expected voxels of {stored} bits (BitsStored), found larger ones in "
            f"{instance.name}; its header is of other voxels, or has lost the overlay that lies "
            "there: export the series again"
        )
    return held


def _has_overlay_above(header: Any, stored: int) -> bool:
    """Say whether an overlay lies in the bits above those stored, as in old files."""
    positions = (
        element.value
        for element in header
        if element.tag.group & 0xFF00 == _OVERLAYS and element.tag.element == _BIT_POSITION
    )
    return any(isinstance(position, int) and position >= stored for position in positions)


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
    stored = int(dataset.BitsStored)
    high = int(dataset.get("HighBit", stored - 1))
    if high != stored - 1 and stored < bits:
        raise InputError(
            f"expected voxels in the lowest bits, found BitsStored {stored} with HighBit {high} in "
            f"{name}; its header is damaged, or of old voxels: export it again"
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
    # Files write them signed or unsigned, whichever their voxels are.
    kind = np.int16 if header.get("PixelRepresentation") == 1 else np.uint16
    low, high = np.array([low & 0xFFFF, high & 0xFFFF], np.uint16).view(kind).tolist()
    return min(low, high), max(low, high)
