"""Training: the loop learns, keeps to its budget, and can be stopped and resumed at any moment."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from export_fixtures import plan
from moediff_export.cli import main
from moediff_export.config import SMALL, TINY, get_config
from moediff_export.data.shards import write_shards
from moediff_export.errors import CheckpointError
from moediff_export.training.checkpoint import load_trained, read_checkpoint, write_checkpoint
from moediff_export.training.curves import append_row, read_rows
from moediff_export.training.plan import Rhythm, TrainingPlan
from moediff_export.training.step import LossPlan
from moediff_export.training.trainer import Trainer
from moediff_export.training.variants import VARIANTS, apply_variant, arithmetic

from moediff_rt.signals import ENDING


def test_training_lowers_the_loss_on_what_it_sees(pairs, tmp_path):
    trainer = Trainer(
        TINY, plan(1000, batch=4, autoencoder_share=0, learning_rate=3e-3), pairs, tmp_path
    )
    images = [float(trainer.train_step()["image"]) for _ in range(60)]
    assert np.mean(images[-15:]) < 0.9 * np.mean(images[:5])


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_trains_and_is_read_back(pairs, tmp_path, variant):
    config, losses = apply_variant(variant, TINY)
    trainer = Trainer(config, plan(4, losses=losses), pairs, tmp_path)
    trainer.run(Rhythm(log_steps=1))
    model, progress = load_trained(trainer.checkpoint)
    assert progress["steps"] == trainer.step == 4
    assert model.config == config
    rows = read_rows(tmp_path / "validation.csv")
    assert np.isfinite(rows["enhanced"]).all()
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_the_gate_takes_over_from_anatomy(pairs, tmp_path):
    trainer = Trainer(TINY, plan(100), pairs, tmp_path)
    shares = []
    for trainer.step in (0, 30, 45, 60, 99):
        shares.append(trainer.guidance)
    assert shares == pytest.approx([1, 1, 0.5, 0, 0])


def test_each_phase_warms_up(pairs, tmp_path):
    trainer = Trainer(TINY, plan(20, autoencoder_share=0.5, warmup_steps=5), pairs, tmp_path)
    rates = []
    for _ in range(14):
        trainer.train_step()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates[0] < 0.3 * rates[4]
    assert rates[10] < 0.3 * rates[9] and rates[13] > 1.5 * rates[10]


def test_every_parameter_of_the_mixture_gets_a_gradient(pairs, tmp_path):
    trainer = Trainer(TINY, plan(1000, autoencoder_share=0), pairs, tmp_path)
    for _ in range(3):  # what starts at zero hides what is behind it for a step or two
        trainer.train_step()
    still = [
        name
        for name, parameter in trainer.step_module.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


def test_a_run_resumes_where_it_stopped(pairs, tmp_path):
    trainer = Trainer(TINY, plan(100), pairs, tmp_path)
    for _ in range(3):
        trainer.train_step()
    trainer.elapsed = 12.5
    trainer.save()
    again = Trainer(TINY, plan(100), pairs, tmp_path)
    again.resume()
    assert (again.step, again.elapsed) == (3, 12.5)
    one, two = again.train_step(), trainer.train_step()
    assert {k: float(v) for k, v in one.items()} == {k: float(v) for k, v in two.items()}
    for a, b in zip(again.model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(again.averaged.parameters(), trainer.averaged.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_begins_with_a_trained_model(pairs, tmp_path):
    first = Trainer(TINY, plan(3), pairs, tmp_path / "first")
    first.run()
    trained = load_trained(first.checkpoint)[0].state_dict()
    trainer = Trainer(TINY, plan(100, warmup_steps=1), pairs, tmp_path / "second")
    trainer.start_from(first.checkpoint)
    for model in (trainer.model, trainer.averaged.module):
        weights = model.state_dict()
        assert all(torch.equal(weights[k], v) for k, v in trained.items())
    assert not trainer.alone and trainer.guidance == 0
    assert trainer.learning_rate() == pytest.approx(trainer.plan.learning_rate / 3)
    assert "latent_mixture" in trainer.train_step()  # of the second phase
    trainer.save()
    again = Trainer(TINY, plan(100, warmup_steps=1), pairs, tmp_path / "second")
    again.resume()
    assert not again.alone and again.guidance == 0
    again.save()
    progress = load_trained(again.checkpoint)[1]
    assert progress["steps"] == 1 and progress["started_from"]["steps"] == 3


def test_weights_that_do_not_fit_are_no_beginning(pairs, tmp_path):
    first = Trainer(get_config("tiny", expert_base=16), plan(1), pairs, tmp_path / "first")
    first.save()
    with pytest.raises(CheckpointError, match="fit the configuration tiny, found those of tiny"):
        Trainer(TINY, plan(1), pairs, tmp_path / "second").start_from(first.checkpoint)


def test_a_run_has_the_attention_of_the_weights_that_it_begins_with(pairs, tmp_path):
    cosines = get_config("tiny", cosine_attention=True)
    first = Trainer(cosines, plan(1), pairs, tmp_path / "first")
    first.save()
    with pytest.raises(CheckpointError, match="weights that fit"):
        Trainer(TINY, plan(1), pairs, tmp_path / "second").start_from(first.checkpoint)
    write_shards(pairs, tmp_path / "data")
    command = ["train", str(tmp_path / "data"), "--config", "tiny", "--crop", "64"]
    command += ["--max-minutes", "1", "--max-steps", "1", "-o", str(tmp_path / "run")]
    assert main([*command, "--from", str(first.checkpoint)]) == 0
    assert main([*command, "--resume"]) == 0
    assert load_trained(tmp_path / "run/checkpoint")[0].config == cosines


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--threads", "-1"], "whole number from 0"),
        (["--seed", "-1"], "whole number from 0"),
        (["--max-minutes", "inf"], "above 0 and finite"),
        (["--max-minutes", "nan"], "above 0 and finite"),
    ],
)
def test_numbers_that_make_no_run_are_refused_in_a_line(pairs, tmp_path, capsys, given, words):
    write_shards(pairs, tmp_path / "data")
    command = ["train", str(tmp_path / "data"), "--config", "tiny", "--crop", "64"]
    command += ["--max-minutes", "1", "--max-steps", "1", "-o", str(tmp_path / "run"), *given]
    with suppress(SystemExit):
        assert main(command) == 2
    assert words in capsys.readouterr().err


def test_a_beginning_that_is_refused_leaves_the_log(pairs, tmp_path, capsys):
    write_shards(pairs, tmp_path / "data")
    (tmp_path / "run").mkdir()
    append_row(tmp_path / "run/losses-joint.csv", {"step": 1, "image": 0.5})
    command = ["train", str(tmp_path / "data"), "--config", "tiny", "--crop", "64"]
    command += ["--max-minutes", "1", "-o", str(tmp_path / "run"), "--from", str(tmp_path / "no")]
    assert main(command) == 2
    assert "expected a run's checkpoint folder" in capsys.readouterr().err
    assert read_rows(tmp_path / "run/losses-joint.csv")["step"] == [1]


def test_a_run_with_a_budget_of_steps_is_the_same_twice(pairs, tmp_path):
    weights = []
    for name in ("one", "two"):
        trainer = Trainer(TINY, plan(4), pairs, tmp_path / name)
        trainer.run()
        weights.append(load_trained(trainer.checkpoint)[0].state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_a_killed_run_resumes(pairs, tmp_path):
    """From the command line, killed without warning once it has saved."""
    write_shards(pairs, tmp_path / "data")
    run = tmp_path / "run"
    script = (
        "import sys; from moediff_export.training import plan; "
        "plan.Rhythm.__init__.__defaults__ = (1, 0.0, 1e9); "
        "from moediff_export.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "train", str(tmp_path / "data"), "--config", "tiny"]
    command += ["--crop", "64", "--max-minutes", "60", "--threads", "1", "--output", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (run / "checkpoint").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, record = read_checkpoint(run / "checkpoint")
    assert record["steps"] >= 1
    again = subprocess.run(
        [*command, "--resume", "--max-steps", str(record["steps"] + 2)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert again.returncode == 0, again.stderr
    assert read_checkpoint(run / "checkpoint")[1]["steps"] == record["steps"] + 2


@pytest.mark.parametrize("sent", ENDING)
def test_a_signal_ends_a_run_that_goes_on_later(pairs, tmp_path, monkeypatch, capsys, sent):
    real, before = Trainer.train_step, signal.getsignal(sent)

    def train_step(trainer):
        signal.raise_signal(sent)
        return real(trainer)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    write_shards(pairs, tmp_path / "data")
    command = ["train", str(tmp_path / "data"), "--config", "tiny", "--crop", "64"]
    command += ["--max-minutes", "60", "--max-steps", "100", "-o", str(tmp_path / "run")]
    assert main(command) == 130
    assert "stopped at step 1; go on with --resume" in capsys.readouterr().err
    assert read_checkpoint(tmp_path / "run/checkpoint")[1]["steps"] == 1
    assert signal.getsignal(sent) == before


def test_another_configurations_run_is_not_resumed(pairs, tmp_path):
    Trainer(TINY, plan(1), pairs, tmp_path).save()
    wider = Trainer(get_config("tiny", expert_base=16), plan(1), pairs, tmp_path)
    with pytest.raises(CheckpointError, match="configuration"):
        wider.resume()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 3}, "the seed that the run began with, 0, found 3"),
        ({"batch": 1}, "the batch"),
        ({"losses": LossPlan(mad=False)}, "the losses"),
    ],
)
def test_a_run_is_not_resumed_as_another(pairs, tmp_path, changes, words):
    Trainer(TINY, plan(10), pairs, tmp_path).save()
    with pytest.raises(CheckpointError, match=words):
        Trainer(TINY, replace(plan(10), **changes), pairs, tmp_path).resume()


def test_a_resumed_run_keeps_its_budget_of_steps_or_takes_another(pairs, tmp_path):
    trainer = Trainer(TINY, plan(10), pairs, tmp_path)
    trainer.step = 5
    trainer.save()
    for given, spent in ((None, 0.5), (20, 0.25)):
        again = Trainer(TINY, replace(plan(10), steps=given), pairs, tmp_path)
        again.resume()
        assert again.spent == pytest.approx(spent)


def test_an_earlier_releases_run_is_not_resumed(pairs, tmp_path):
    trainer = Trainer(TINY, plan(1), pairs, tmp_path)
    trainer.save()
    tensors, record = read_checkpoint(trainer.checkpoint)
    del record["joint_from"]
    write_checkpoint(trainer.checkpoint, tensors, record)
    with pytest.raises(CheckpointError, match="without joint_from; is it an average"):
        Trainer(TINY, plan(1), pairs, tmp_path).resume()
    record["config"]["of_an_earlier_release"] = 1
    write_checkpoint(trainer.checkpoint, tensors, record)
    with pytest.raises(CheckpointError, match="found another"):
        Trainer(TINY, plan(1), pairs, tmp_path).resume()


def test_a_run_ends_with_its_time(pairs, tmp_path):
    trainer = Trainer(TINY, TrainingPlan(0.02, crop=64, batch=2), pairs, tmp_path)
    trainer.run(Rhythm(log_steps=1))
    assert trainer.step > 0 and trainer.elapsed >= 1.2
    written = read_rows(tmp_path / "losses-autoencoder.csv")["minutes"]
    assert written[-1] <= trainer.elapsed / 60 + 0.01  # rounded


@pytest.mark.parametrize(
    ("step", "minutes", "spent"), [(25, 0, 0.25), (25, 10, 0.25), (25, 500, 0.5), (0, 2000, 1.0)]
)
def test_what_is_spent_follows_the_budget_that_is_nearer_its_end(
    pairs, tmp_path, step, minutes, spent
):
    trainer = Trainer(TINY, plan(100), pairs, tmp_path)
    trainer.step, trainer.elapsed = step, 60.0 * minutes
    assert trainer.spent == pytest.approx(spent)


@pytest.mark.parametrize(
    ("processor", "gpu", "precision"),
    [
        ("AVX2", None, "32-true"),
        ("DEFAULT", None, "32-true"),
        ("AVX512", None, "bf16-mixed"),
        ("AVX2", True, "bf16-mixed"),
        ("AVX512", False, "32-true"),
    ],
)
def test_precision_is_what_the_machine_computes_in(monkeypatch, processor, gpu, precision):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    assert TrainingPlan(1.0).precision == precision
    assert TrainingPlan(1.0, precision="32-true").precision == "32-true"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minutes": 0.0}, "minutes above 0"),
        ({"steps": 0}, "steps above 0"),
        ({"batch": 0}, "batch above 0"),
        ({"precision": "16-mixed"}, "bf16-mixed or 32-true, got '16-mixed'"),
        ({"crop": 40}, "multiple of 16"),
        ({"crop": 128}, "edge is 96"),
    ],
)
def test_plans_that_cannot_be_followed_are_refused(pairs, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        Trainer(TINY, replace(plan(10), **changes), pairs, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to capture graphs on")
def test_cuda_graphs_need_a_gpu(pairs, tmp_path):
    with pytest.raises(ValueError, match="CUDA device for CUDA graphs, found cpu; PyTorch sees"):
        Trainer(TINY, plan(10, cuda_graphs=True), pairs, tmp_path)


def test_a_gradient_that_is_not_finite_moves_nothing(pairs, tmp_path):
    trainer = Trainer(TINY, plan(100), pairs, tmp_path)
    trainer.train_step()
    before = [p.clone() for p in trainer.model.parameters()]
    spoilt = replace(pairs[1], target=np.full_like(pairs[1].target, np.inf))
    trainer.train_pairs = [spoilt]
    assert float(trainer.train_step()["skipped"]) == 1
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    trainer.save()
    again = Trainer(TINY, plan(100), pairs, tmp_path)
    again.resume()
    trainer.train_pairs = again.train_pairs
    for one in (trainer, again):
        one.train_step()
    for a, b in zip(again.averaged.parameters(), trainer.averaged.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_resumed_run_drops_what_it_logged_after_its_last_save(pairs, tmp_path):
    trainer = Trainer(TINY, plan(100), pairs, tmp_path)
    trainer.train_step()
    trainer.save()
    for step in (1, 2):
        append_row(tmp_path / "losses-joint.csv", {"step": step, "image": 0.5})
    Trainer(TINY, plan(100), pairs, tmp_path).resume()
    assert read_rows(tmp_path / "losses-joint.csv")["step"] == [1]


def test_the_variants_match_in_what_they_must():
    mixture = SMALL
    single, _ = apply_variant("single", mixture)
    unet, _ = apply_variant("unet", mixture)

    def parameters(config):
        from moediff_export.model import MoEDiffSR

        return sum(p.numel() for p in MoEDiffSR(config).experts.parameters())

    assert parameters(single) == pytest.approx(parameters(mixture), rel=0.05)
    assert arithmetic(unet) == pytest.approx(arithmetic(mixture), rel=0.15)
    assert apply_variant("no_mad", mixture)[1] == LossPlan(mad=False)
    with pytest.raises(ValueError, match="mixture"):
        apply_variant("nothing", mixture)


def test_training_needs_no_more_than_a_bare_gpu_machine_has(pairs, tmp_path):
    """PyTorch, NumPy and what trains with them: nothing that reads scans, no runtime."""
    write_shards(pairs, tmp_path / "data")
    missing = ("nibabel", "nilearn", "skimage", "SimpleITK", "openvino", "moediff_rt._core")
    script = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if any(name == m or name.startswith(m + '.') for m in {missing!r}):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from moediff_export.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "train", str(tmp_path / "data"), "--config", "tiny"]
    command += ["--crop", "64", "--max-minutes", "60", "--max-steps", "2", "--threads", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(tmp_path / "run" / "checkpoint")[1]["steps"] == 2


def test_two_processes_train_one_model(pairs, tmp_path):
    """As on two GPUs, here on two CPU processes."""
    write_shards(pairs, tmp_path / "data")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "moediff_export.cli", "train"]
    command += [
        str(tmp_path / "data"),
        "--config",
        "tiny",
        "--crop",
        "64",
        "--max-minutes",
        "60",
        "--max-steps",
        "3",
    ]
    command += ["--threads", "1", "--output", str(tmp_path / "run")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(tmp_path / "run" / "checkpoint")[1]["steps"] == 3
