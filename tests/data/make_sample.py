"""Make the sample scan: a simulated 2 mm acquisition of MNI152 with 1 % noise, int16.

    python tests/data/make_sample.py

writes `sample_T1w.nii.gz` beside this file; `moediff_export.data.held_out` says how it is made.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from moediff_export.data.held_out import load_subject, simulate_scan

SEED = 20250410


def main() -> None:
    """Write the sample scan."""
    scan = simulate_scan(load_subject("mni152"), noise_percent=1.0, seed=SEED)
    image = nib.Nifti1Image(np.rint(scan.get_fdata()).astype(np.int16), None)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(scan.affine, code="aligned")
    image.set_sform(scan.affine, code="aligned")
    image.header["descrip"] = b"MNI152 (ICBM 2009a), simulated 2 mm scan"
    path = Path(__file__).with_name("sample_T1w.nii.gz")
    nib.save(image, path)
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
