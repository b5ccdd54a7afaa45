"""A run's log: its columns, what a kill leaves of it, and what is drawn of it."""

import pytest
from moediff_export.training.curves import (
    append_row,
    plot_gate_convergence,
    plot_run,
    read_rows,
    rewind,
)


def test_a_run_leaves_what_else_lies_in_its_folder(pairs, tmp_path):
    own = {"own.csv": "step,mine\n5,6\n", "participants.csv": "id\n", "empty.csv": ""}
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    append_row(tmp_path / "validation.csv", {"step": 5, "enhanced": 30})
    rewind(tmp_path, 0)
    assert not read_rows(tmp_path / "validation.csv")
    plot_run(tmp_path)
    assert {name: (tmp_path / name).read_text() for name in own} == own


def test_logs_keep_their_columns(tmp_path):
    path = tmp_path / "log.csv"
    append_row(path, {"step": 1, "a": 0.5})
    append_row(path, {"step": 2, "b": 3.0, "a": 0.25})
    assert read_rows(path) == {"step": [1, 2], "a": [0.5, 0.25]}


def test_gate_convergence_is_drawn_for_the_runs_that_have_a_gate(tmp_path):
    for name, entropy in (("mixture", 1.0), ("single", 0.0), ("uniform_gate", None)):
        (tmp_path / name).mkdir()
        for step in (25, 50):
            row = {
                "step": step,
                "gate_cross_entropy": 1.0986 if entropy is None else entropy / step,
            }
            append_row(tmp_path / name / "losses-joint.csv", row)
    assert plot_gate_convergence(tmp_path, tmp_path / "gate.png") == ["mixture"]
    assert (tmp_path / "gate.png").stat().st_size > 1000
    with pytest.raises(FileNotFoundError, match="run folders"):
        plot_gate_convergence(tmp_path / "mixture", tmp_path / "none.png")


@pytest.mark.parametrize("left", ["", "step,im", "\0\0\0"])
def test_a_log_without_a_whole_line_is_none(tmp_path, left):
    path = tmp_path / "losses-joint.csv"
    path.write_text(left)
    append_row(path, {"step": 1, "image": 0.5})
    assert read_rows(path) == {"step": [1], "image": [0.5]}
    path.write_text(left)
    rewind(tmp_path, 5)
    assert not path.exists()


def test_a_log_that_was_cut_off_keeps_its_whole_rows(tmp_path):
    path = tmp_path / "losses-joint.csv"
    for cut in ("\r\n", "3\r\n", "3", "3,0.", "3,0.5,7\r\n", "\0\0"):
        path.write_bytes(b"step,image\r\n1,0.5\r\n2,0.25\r\n" + cut.encode())
        rewind(tmp_path, 3)
        assert path.read_bytes() == b"step,image\r\n1,0.5\r\n2,0.25\r\n", cut
    assert [p.name for p in tmp_path.iterdir()] == ["losses-joint.csv"]


def test_a_row_is_not_glued_to_one_that_was_cut_off(tmp_path):
    path = tmp_path / "losses-joint.csv"
    path.write_bytes(b"step,image\r\n1,0.")
    append_row(path, {"step": 2, "image": 0.25})
    assert read_rows(path) == {"step": [1, 2], "image": [0, 0.25]}
