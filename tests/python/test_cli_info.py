"""`moediff-rt info`."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from tiny_bundle import make_bundle

import moediff_rt
from moediff_rt import _core, cli


def test_info_names_backends_cuda_bundle_and_cache(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path))
    assert cli.main(["info", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["version"] == moediff_rt.__version__
    assert {"openvino", "tensorrt", "tensorrt-rtx"} <= {b["name"] for b in said["backends"]}
    assert all(b["available"] or b["reason"] for b in said["backends"])
    assert Path(said["bundle"]["path"]).name == "edge"
    assert said["cache"]["path"] == str(tmp_path / "engines")
    assert said["cuda_ops"] is _core.cuda_built()
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "openvino" in shown
    assert ("not in this build: nvcc" in shown) is not _core.cuda_built()


def test_info_shows_a_bundle_s_card_in_short_rows(capsys, tmp_path, monkeypatch):
    card = {
        "training": {"minutes": 36.97942729381672, "average_of": [{"plan": {"steps": 7}}] * 3},
        "metrics": [{"scan": "x2", "psnr": 30.0071234}, {"scan": "x1.5", "psnr": 32}],
        "created": "2026",
    }
    bundle = make_bundle(tmp_path / "bundle")
    manifest = json.loads((bundle / "bundle.json").read_text()) | card
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    monkeypatch.setattr("moediff_rt.cache.default_bundle", lambda: bundle)
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "    minutes  36.979\n    average_of 3 entries (--json shows them)\n" in shown
    assert "  metrics\n    scan  psnr\n    x2    30.007\n    x1.5  32\n" in shown
    assert "{" not in shown and "  created  2026\n" in shown
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["bundle"]["card"]
    assert {key: found[key] for key in card} == card


def test_info_says_why_a_cache_cannot_be_read(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path / ("a" * 300)))
    assert cli.main(["info"]) == 0
    assert "too long; check its permissions, or set MOEDIFF_RT_CACHE" in capsys.readouterr().out
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["cache"]
    assert "too long" in found["error"] and found["entries"] == []


@pytest.mark.parametrize("closed", ["engines", "engines/openvino"])
def test_info_says_that_a_cache_may_not_be_read(capsys, tmp_path, monkeypatch, closed):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path))
    (tmp_path / "engines" / "openvino").mkdir(parents=True)
    (tmp_path / "engines" / "openvino" / "one.blob").touch()
    real = os.scandir

    def refuse(path):
        if str(path) == str(tmp_path / closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / closed} cannot: Permission denied; check its" in shown
    assert "0.0 MB" not in shown
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["cache"]
    assert "Permission denied" in found["error"] and found["entries"] == []


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_info_says_that_a_cache_is_no_folder(capsys, tmp_path, monkeypatch, below):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(file / below))
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert f"found a file at {file}; set MOEDIFF_RT_CACHE" in shown and "0.0 MB" not in shown
