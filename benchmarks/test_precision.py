"""What a lower precision gains and costs: the runtime against itself in float32."""

from __future__ import annotations

from functools import lru_cache

import pytest
from measure import LOW_PRECISION_ERROR, median_run, relative_error, timed
from ways import run_session

from moediff_rt import Session, _core

pytestmark = pytest.mark.full

PRECISIONS = next(info.precisions for info in _core.backends() if info.name == "openvino")


@pytest.fixture(scope="module")
def run(case, rounds, tmp_path_factory):
    """Seconds, the median of some runs, and the result in a precision."""

    @lru_cache
    def run_in(precision):
        session = Session(precision=precision)
        output = tmp_path_factory.mktemp(precision) / "out.nii.gz"
        run_session(session, case.scan, output)
        runs = [timed(lambda: run_session(session, case.scan, output)) for _ in range(rounds)]
        return median_run([seconds for seconds, _ in runs], runs)

    return run_in


@pytest.mark.parametrize("precision", PRECISIONS)
def test_time_and_quality_by_precision(case, record, run, precision):
    seconds, found = run(precision)
    before, truth = run("fp32")
    psnr = case.truth.psnr if case.truth else None
    error = relative_error(found.volume, truth.volume)
    assert error <= LOW_PRECISION_ERROR
    record(
        "precision",
        precision=precision,
        seconds=seconds,
        times_faster=before / seconds,
        relative_error=error,
        psnr_loss_db=psnr(truth.volume) - psnr(found.volume) if psnr else None,
    )
