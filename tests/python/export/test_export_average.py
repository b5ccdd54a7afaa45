"""One model of several that have the same beginning."""

import signal
from pkgutil import resolve_name

import pytest
import torch
from export_fixtures import plan
from moediff_export.cli import main
from moediff_export.config import TINY, get_config
from moediff_export.errors import CheckpointError
from moediff_export.training.average import write_average
from moediff_export.training.checkpoint import load_trained
from moediff_export.training.trainer import Trainer


def test_runs_that_went_on_from_one_model_are_averaged(pairs, tmp_path, capsys):
    begin = Trainer(TINY, plan(1), pairs, tmp_path / "begin")
    begin.run()
    runs = [tmp_path / name / "checkpoint" for name in ("one", "two")]
    for seed, run in enumerate(runs):
        trainer = Trainer(TINY, plan(2, seed=seed, warmup_steps=1), pairs, run.parent)
        trainer.start_from(begin.checkpoint)
        trainer.run()
    command = ["average", *map(str, runs), "-o", str(tmp_path / "mean")]
    assert main(command) == 0
    mean, history = load_trained(tmp_path / "mean")
    states = [load_trained(run)[0].state_dict() for run in runs]
    for name, value in mean.state_dict().items():
        a, b = (state[name] for state in states)
        torch.testing.assert_close(value, (a + b) / 2, rtol=1e-3, atol=1e-6)
    assert [run["plan"]["seed"] for run in history["average_of"]] == [0, 1]
    assert all(run["started_from"]["steps"] == 1 for run in history["average_of"])
    assert main(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    astray = ["average", *map(str, runs), "-o", str(tmp_path), "--overwrite"]
    assert main(astray) == 2 and "something else" in capsys.readouterr().err
    assert all(run.exists() for run in runs)
    begin.start_from(tmp_path / "mean")
    (tmp_path / "mean").rename(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="is it an average"):
        Trainer(TINY, plan(2), pairs, tmp_path).resume()


def test_what_is_worth_keeping_of_one_checkpoint(pairs, tmp_path):
    trainer = Trainer(TINY, plan(1), pairs, tmp_path)
    trainer.run()
    write_average([trainer.checkpoint], tmp_path / "kept")
    (model, history), (kept, of_kept) = map(load_trained, (trainer.checkpoint, tmp_path / "kept"))
    assert of_kept == history and history["steps"] == 1
    weights = kept.state_dict()
    assert all(torch.equal(weights[k], v.half().float()) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("where", "words", "there"),
    [
        ("moediff_export.training.checkpoint.save", "nothing was written", False),
        ("pathlib.Path.rename", "is written", True),
        ("moediff_export.cli._megabytes", "is written", True),
    ],
)
def test_a_signal_leaves_the_mean_or_nothing(
    pairs, tmp_path, monkeypatch, capsys, where, words, there
):
    trainer = Trainer(TINY, plan(1), pairs, tmp_path / "run")
    trainer.run()
    name, attribute = where.rsplit(".", 1)
    real = getattr(resolve_name(name), attribute)

    def stopped(*args):
        signal.raise_signal(signal.SIGTERM)
        return real(*args)

    monkeypatch.setattr(where, stopped)
    folder = tmp_path / "out" / "mean"
    assert main(["average", str(trainer.checkpoint), "-o", str(folder)]) == 143
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("moediff-export average: stopped by SIGTERM; ") and words in said
    assert [path.name for path in folder.parent.iterdir()] == (["mean"] if there else [])
    assert not there or load_trained(folder)


def test_models_of_two_configurations_have_no_mean(pairs, tmp_path):
    runs = []
    for base in (8, 16):
        trainer = Trainer(
            get_config("tiny", expert_base=base), plan(1), pairs, tmp_path / str(base)
        )
        trainer.save()
        runs.append(trainer.checkpoint)
    with pytest.raises(CheckpointError, match="16/checkpoint to differ"):
        write_average(runs, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
