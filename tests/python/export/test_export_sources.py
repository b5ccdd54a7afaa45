"""The volumes that training draws anatomy from."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from moediff_export.data.sources import colin27, scan_source
from moediff_export.data.tissue import tissue_maps


def concentric_head(folder):
    """A head like Colin27's: the tissue at 0.5 mm is cut out of its fluid, as `ch2better` is."""
    for name, spacing, shown in (
        ("ch2better", 0.5, {(4, 10): 100, (10, 14): 75}),
        ("ch2", 1.0, {(0, 4): 30, (4, 10): 100, (10, 14): 75, (14, 16): 30, (18, 20): 160}),
        ("ch2bet", 1.0, {(0, 16): 1}),
    ):
        axis = np.arange(-21, 21, spacing)
        radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
        image = sum(v * ((radius >= low) & (radius < high)) for (low, high), v in shown.items())
        affine = np.diag([spacing, spacing, spacing, 1])
        affine[:3, 3] = axis[0]
        nib.save(nib.Nifti1Image(image.astype(np.float32), affine), folder / f"{name}.nii.gz")


def test_both_of_colin27s_volumes_have_the_same_tissues(tmp_path):
    concentric_head(tmp_path)
    volumes = []
    for source in colin27(tmp_path):
        maps = tissue_maps(source.data, source.levels, 0.1)[1:4] * source.brain
        volumes.append([float(share.sum()) * source.spacing**3 for share in maps])
        middle = tuple(n // 2 for n in source.data.shape)
        assert maps[(0, *middle)] > 0.9, "fluid in the ventricle"
    (fine_fluid, *fine), (fluid, *coarse) = volumes
    np.testing.assert_allclose(fine, coarse, rtol=0.1)
    # The outermost layer is blurred against air, a fifth of a shell of 2 mm.
    np.testing.assert_allclose(fine_fluid, fluid, rtol=0.25)


def test_missing_training_volume_names_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="mricron-data"):
        colin27(tmp_path)
    with pytest.raises(FileNotFoundError, match="check the path"):
        scan_source(tmp_path / "sub-01_T1w.nii.gz")
    (tmp_path / "sub-02_T1w.nii.gz").write_bytes(b"no scan")
    with pytest.raises(ValueError, match="sub-02"):
        scan_source(tmp_path / "sub-02_T1w.nii.gz")
