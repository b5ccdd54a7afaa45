"""What is written is plain gzip, whoever reads it and however many threads packed it."""

from __future__ import annotations

import errno
import gzip
import io
import zlib

import nibabel as nib
import numpy as np
import pytest

from moediff_rt.atomic import write_whole
from moediff_rt.errors import OutputError
from moediff_rt.io import image_writer, load_scan
from moediff_rt.packing import BLOCK_BYTES, packed

# Several blocks, and a last one that is not whole.
SHAPE = (160, 150, 100)


@pytest.fixture(scope="module")
def image() -> nib.Nifti1Image:
    grid = np.indices(SHAPE).sum(0) % 97
    noise = np.random.default_rng(0).integers(0, 5, SHAPE)
    return nib.Nifti1Image((grid + noise).astype(np.int16), np.diag([1.0, 1.0, 1.0, 1.0]))


def written(image: nib.Nifti1Image, threads: int) -> bytes:
    stream = io.BytesIO()
    image_writer(image, compress=True, threads=threads)(stream)
    return stream.getvalue()


def test_a_result_is_one_gzip_member_without_name_and_time(image):
    data = written(image, 2)
    assert image.get_fdata().size * 2 > 3 * BLOCK_BYTES
    reader = zlib.decompressobj(wbits=31)
    content = reader.decompress(data)
    assert reader.eof
    assert reader.unused_data == b""
    assert content == image.to_bytes()
    flags, time = data[3], data[4:8]
    assert (flags, time) == (0, bytes(4))


def test_every_number_of_threads_gives_the_same_bytes(image):
    first = written(image, 1)
    assert [written(image, threads) == first for threads in (0, 2, 3)] == [True] * 3


@pytest.mark.parametrize("reader", ["nibabel", "gzip", "moediff_rt"])
def test_a_written_file_is_read_back(tmp_path, image, reader):
    path = tmp_path / "scan.nii.gz"
    write_whole({path: image_writer(image, compress=True)})
    expected = np.asarray(image.dataobj)
    if reader == "nibabel":
        found = np.asarray(nib.load(path).dataobj)
    elif reader == "gzip":
        found = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes())).dataobj)
    else:
        found = load_scan(path).data
    np.testing.assert_array_equal(found, expected)


def test_a_scan_packed_in_several_members_is_read_whole(tmp_path, image):
    content = image.to_bytes()
    parts = (content[:1000], content[1000:70_000], content[70_000:])
    (tmp_path / "scan.nii.gz").write_bytes(b"".join(gzip.compress(part) for part in parts))
    found = load_scan(tmp_path / "scan.nii.gz").data
    np.testing.assert_array_equal(found, np.asarray(image.dataobj))


def test_a_gap_is_zeros_and_there_is_no_way_back():
    stream = io.BytesIO()
    with packed(stream) as out:
        out.write(b"head")
        out.seek(10)
        out.write(b"voxels")
        assert out.tell() == 16
        with pytest.raises(OSError, match="forwards"):
            out.seek(0)
    assert gzip.decompress(stream.getvalue()) == b"head" + bytes(6) + b"voxels"


@pytest.mark.parametrize("threads", [1, 3])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, image, threads):
    class FullDisk(io.BytesIO):
        def write(self, data):
            if self.tell() + len(data) > 100_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    write = image_writer(image, compress=True, threads=threads)
    with pytest.raises(OutputError, match="No space left"):
        write_whole({tmp_path / "scan.nii.gz": lambda _stream: write(FullDisk())})
    assert list(tmp_path.iterdir()) == []
