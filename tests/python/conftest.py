import signal

import device_memory
import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A bundle made for the session; tests must not change it."""
    # Here, because a machine that only runs GPU tests need not have onnx.
    from tiny_bundle import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal():
    """A background job starts with these ignored; the commands under test must see them."""
    kept = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def gpu():
    """Memory of an NVIDIA GPU, for a build that has the CUDA ops."""
    from moediff_rt import _core

    if not _core.cuda_built():
        pytest.skip("this build has no CUDA: nvcc was not there when it was made")
    try:
        return device_memory.find()
    except device_memory.NoDevice as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def int8_processor():
    """A processor that OpenVINO runs 8-bit modules on."""
    from moediff_rt import _core

    (openvino,) = (info for info in _core.backends() if info.name == "openvino")
    if "int8" not in openvino.precisions:
        pytest.skip("needs a processor with AVX-512 VNNI")


@pytest.fixture
def rng():
    """New numbers in each run; a failure shows the seed that brings them back."""
    seed = np.random.SeedSequence().entropy
    print(f"seed {seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """A scan in a folder of its own, for the command, and an engine cache that its tests share."""
    import nibabel as nib
    from cli_scan import head

    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path.parent / "cache"))
    folder = tmp_path / "sub-01"
    folder.mkdir()
    nib.save(nib.Nifti1Image(head(), np.diag([2.0, 2, 2, 1])), folder / "sub-01_T1w.nii.gz")
    return folder / "sub-01_T1w.nii.gz"


@pytest.fixture
def archive():
    """A storage SCP that DICOM servers send to."""
    from dicom_peer import Archive

    with Archive() as archive:
        yield archive


@pytest.fixture
def start_dicom(tiny_bundle, tmp_path, archive):
    """Start DICOM servers over one spool, one after the other."""
    from dicom_peer import served

    def begin(archive=archive, **options):
        return served(tiny_bundle, tmp_path / "spool", archive, **options)

    return begin


@pytest.fixture(scope="module")
def mrd_server(tiny_bundle, tmp_path_factory):
    """An MRD server over an engine cache of its own."""
    from mrd_peer import served

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEDIFF_RT_CACHE", str(tmp_path_factory.mktemp("cache")))
        with served(tiny_bundle) as running:
            yield running


@pytest.fixture(scope="session")
def derived(tiny_bundle, tmp_path_factory):
    """What `dicom.enhance` makes of the series that the DICOM peers send."""
    import dicom_series
    from dicom_peer import T1, session_of

    from moediff_rt import dicom

    folder = dicom_series.save(tmp_path_factory.mktemp("t1"), T1)
    return dicom.enhance(session_of(tiny_bundle), dicom.load_series(folder)).derived
