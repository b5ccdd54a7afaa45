"""`moediff-export data`: what it refuses."""

import pytest
from moediff_export.cli import main


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--pairs", "1", "--n4"], "--n4 with --real alone"),
        (["--scan", "brain.nii.gz"], "--scan with simulated slabs alone"),
        (["--painted", "0"], "--painted with"),
        (["--gradients", "coil.grad"], "--gradients with"),
        (["--templates", "here"], "--templates with"),
        (["--painted", "1", "--seed", "0"], "--painted, --seed with"),
    ],
)
def test_what_would_be_ignored_is_refused(tmp_path, capsys, given, words):
    real = [] if "--pairs" in given else ["--pairs", "0", "--real", str(tmp_path)]
    assert main(["data", "-o", str(tmp_path / "shards"), *real, *given]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
    assert not (tmp_path / "shards").exists()
