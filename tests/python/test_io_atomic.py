"""Several files appear whole or not at all, whatever fails and whenever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moediff_rt import atomic
from moediff_rt.atomic import check_folder_writable, check_writable, write_whole
from moediff_rt.errors import OutputError


def put(text: bytes):
    return lambda stream: stream.write(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def fail_after(monkeypatch, name: str, calls: int, error: BaseException, *, done: bool = False):
    """Let the `calls`-th os.`name` from now on raise, before or after its work is `done`."""
    real = getattr(os, name)
    count = 0

    def call(*args: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count == calls and not done:
            raise error
        result = real(*args, **options)
        if count == calls:
            raise error
        return result

    monkeypatch.setattr(atomic.os, name, call)


def no_links(monkeypatch):
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(atomic.os, "link", refuse)


ERRORS = [OSError(28, "No space left"), KeyboardInterrupt(), RuntimeError("a bug")]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("overwrite", [True, False])
def test_all_files_appear_and_nothing_else(tmp_path, monkeypatch, overwrite, links):
    if not links:
        no_links(monkeypatch)
    if overwrite:
        (tmp_path / "a").write_text("old a")
    write_whole({tmp_path / "a": put(b"1"), tmp_path / "b": put(b"2")}, overwrite=overwrite)
    assert contents(tmp_path) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("links", [True, False])
def test_a_failed_replacement_gives_the_old_files_back(
    tmp_path, monkeypatch, links, calls, done, error
):
    old = {"a": "old a", "b": "old b"}
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    if not links:
        no_links(monkeypatch)
        calls *= 2
    fail_after(monkeypatch, "replace", calls, error, done=done)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write_whole({tmp_path / name: put(b"new") for name in old}, overwrite=True)
    assert contents(tmp_path) == old


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("calls", [1, 2])
def test_a_failed_link_leaves_nothing(tmp_path, monkeypatch, calls, error):
    fail_after(monkeypatch, "link", calls, error, done=True)
    names = [tmp_path / "a", tmp_path / "b"]
    if isinstance(error, OSError):
        # The link is there, the answer said otherwise, as network file systems may.
        with pytest.raises(OutputError):
            write_whole({path: put(b"new") for path in names})
    else:
        with pytest.raises(type(error)):
            write_whole({path: put(b"new") for path in names})
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("done", [False, True])
def test_without_hard_links_a_failed_rename_leaves_nothing(
    tmp_path, monkeypatch, done, calls, error
):
    no_links(monkeypatch)
    fail_after(monkeypatch, "replace", calls, error, done=done)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write_whole({tmp_path / "a": put(b"new"), tmp_path / "b": put(b"new")})
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_while_writing_is_not_replaced(tmp_path, monkeypatch, links):
    if not links:
        no_links(monkeypatch)

    def late(stream):
        stream.write(b"ours")
        (tmp_path / "b").write_text("theirs")

    with pytest.raises(OutputError, match="--overwrite"):
        write_whole({tmp_path / "a": late, tmp_path / "b": late})
    assert contents(tmp_path) == {"b": "theirs"}


def test_a_folder_that_takes_a_file_s_place_meanwhile_is_kept(tmp_path):
    def late(stream):
        stream.write(b"ours")
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("theirs")

    with pytest.raises(OutputError, match="found the folder"):
        write_whole({tmp_path / "a": late}, overwrite=True)
    assert tree(tmp_path) == {"a/b": "theirs"}
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_interrupted_write_leaves_nothing(tmp_path, error):
    def half(stream):
        stream.write(b"half")
        raise error

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write_whole({tmp_path / "a": put(b"whole"), tmp_path / "b": half})
    assert contents(tmp_path) == {}


def test_a_dangling_link_is_an_output_that_exists(tmp_path):
    (tmp_path / "out.nii").symlink_to(tmp_path / "nowhere" / "else.nii")
    with pytest.raises(OutputError, match="exists already"):
        check_writable(tmp_path / "out.nii", overwrite=False)


def test_a_name_too_long_is_refused_early_and_the_longest_is_written(tmp_path):
    with pytest.raises(OutputError, match="too long"):
        check_writable(tmp_path / ("x" * 256), overwrite=False)
    write_whole({tmp_path / ("x" * 255): put(b"new")})
    assert contents(tmp_path) == {"x" * 255: "new"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission"):
        write_whole({folder / "out.nii": put(b"new")})


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="no folder"):
        write_whole({Path(tmp_path, "nowhere", "out.nii"): put(b"new")})


def is_number(file: Path) -> bool:
    return file.name.isdigit()


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "an old folder"])
def test_a_folder_appears_with_its_files(tmp_path, before):
    if before != "nothing":
        (tmp_path / "out").mkdir()
    if before == "an old folder":
        (tmp_path / "out" / "9").write_text("old")
    writers = {tmp_path / "out": {"1": put(b"one"), "2": put(b"two")}, tmp_path / "a": put(b"a")}
    write_whole(writers, overwrite=before == "an old folder", ours=is_number)
    assert tree(tmp_path) == {"out/1": "one", "out/2": "two", "a": "a"}
    assert sorted(os.listdir(tmp_path)) == ["a", "out"]


def test_a_folder_that_exists_is_kept_unless_asked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "9").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"):
        write_whole({tmp_path / "out": {"1": put(b"one")}})
    assert tree(tmp_path) == {"out/9": "old"}


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path):
    def late(stream):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "9").write_text("theirs")
        stream.write(b"one")

    with pytest.raises(OutputError, match="--overwrite"):
        write_whole({tmp_path / "out": {"1": late}})
    assert tree(tmp_path) == {"out/9": "theirs"}


@pytest.mark.parametrize("taken", ["file", "link"])
def test_a_folder_replaces_no_file_and_no_link(tmp_path, taken):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(OutputError, match="file or a link"):
        write_whole({tmp_path / taken: {"1": put(b"one")}}, overwrite=True)
    assert tree(tmp_path) == {"file": "mine"}


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "1").write_text("old")
    with pytest.raises(OutputError, match=r"found thesis\.tex"):
        check_folder_writable(tmp_path, overwrite=True, ours=is_number)


def test_a_folder_s_files_are_replaced_only_where_somebody_says_whose_they_are(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "9").write_text("old")
    with pytest.raises(OutputError, match="found 9"):
        write_whole({tmp_path / "out": {"1": put(b"one")}}, overwrite=True)
    assert tree(tmp_path) == {"out/9": "old"}


@pytest.mark.parametrize("when", ["while writing", "while checking"])
def test_what_comes_into_a_folder_meanwhile_is_kept(tmp_path, when):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "9").write_text("old")
    (tmp_path / "a").write_text("old a")
    written = False

    def come():
        (tmp_path / "out" / "notes").write_text("mine")

    def late(stream):
        nonlocal written
        written = True
        stream.write(b"one")
        if when == "while writing":
            come()

    def ours(file):
        if written and when == "while checking":
            come()
        return is_number(file)

    with pytest.raises(OutputError, match="found notes"):
        writers = {tmp_path / "a": put(b"a"), tmp_path / "out": {"1": late}}
        write_whole(writers, overwrite=True, ours=ours)
    assert tree(tmp_path) == {"out/9": "old", "out/notes": "mine", "a": "old a"}
    assert sorted(os.listdir(tmp_path)) == ["a", "out"]


@pytest.mark.parametrize("taken", ["file", "link"])
def test_what_takes_a_folder_s_place_meanwhile_is_kept(tmp_path, taken):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "8").write_text("mine")
    (tmp_path / "out").mkdir()

    def late(stream):
        (tmp_path / "out").rmdir()
        if taken == "file":
            (tmp_path / "out").write_text("mine")
        else:
            (tmp_path / "out").symlink_to("elsewhere")
        stream.write(b"one")

    with pytest.raises(OutputError, match="file or a link"):
        write_whole({tmp_path / "out": {"1": late}}, overwrite=True, ours=is_number)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "out"]
    assert (tmp_path / "elsewhere" / "8").read_text() == "mine"
    assert taken == "link" or (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("calls", [1, 2, 3])
@pytest.mark.parametrize("name", ["rename", "replace", "fsync"])
def test_whatever_fails_the_old_folder_is_there_again(
    tmp_path, monkeypatch, name, calls, done, error
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "9").write_text("old")
    (tmp_path / "a").write_text("old a")
    fail_after(monkeypatch, name, calls, error, done=done)
    writers = {tmp_path / "out": {"1": put(b"one")}, tmp_path / "a": put(b"a")}
    try:
        write_whole(writers, overwrite=True, ours=is_number)
    except (OutputError, KeyboardInterrupt, RuntimeError):
        monkeypatch.undo()
        assert tree(tmp_path) == {"out/9": "old", "a": "old a"}
    else:
        assert tree(tmp_path) == {"out/1": "one", "a": "a"}
    assert sorted(os.listdir(tmp_path)) == ["a", "out"]
