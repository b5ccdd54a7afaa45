"""The spool: every state survives a crash, and nothing that a peer sends is part of a path."""

from __future__ import annotations

import os
import re
import threading

import pytest

from moediff_rt.errors import Cancelled, InputError, OutputError
from moediff_rt.serve.dicom import disk
from moediff_rt.serve.dicom import spool as spools
from moediff_rt.serve.dicom.spool import (
    INCOMING,
    READY,
    REFUSED,
    SENDING,
    Differs,
    Full,
    Spool,
    instance_name,
    series_name,
)

SERIES = series_name("1.2", "1.2.3")
RESULT = {
    "00001.dcm": lambda stream: stream.write(b"made"),
    "outcome.json": lambda stream: stream.write(b'{"OriginalsToSend": false}'),
}


def fails(_stream):
    raise OSError(28, "No space left on device")


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool", 1 << 40)
    yield spool
    spool.close()


def put(spool, uid="1.2.3.1", content=b"voxels", series=SERIES) -> bool:
    return spool.place(spool.arrive([content]), series, instance_name(uid))


def refuse(spool) -> str:
    put(spool)
    spool.finish(SERIES)
    return spool.settle(spool.claim(SERIES), {"outcome.json": lambda stream: None}, REFUSED)


def again(spool) -> Spool:
    """The spool as the next start finds it after a crash."""
    spool.close()
    return Spool(spool.folder, spool.limit)


def files(spool) -> list[str]:
    found = (path for path in spool.folder.rglob("*") if path.is_file() and path.name != "lock")
    return sorted(str(path.relative_to(spool.folder)) for path in found)


def test_a_series_goes_from_state_to_state(spool):
    assert put(spool) and put(spool, "1.2.3.2")
    assert spool.series_in(INCOMING) == [SERIES] and spool.series_in(READY) == []
    assert spool.finish(SERIES)
    assert spool.series_in(INCOMING) == [] and spool.series_in(READY) == [SERIES]
    claim = spool.claim(SERIES)
    assert claim.begun == 1
    name = spool.settle(claim, RESULT, SENDING)
    assert spool.series_in(READY) == [] and spool.series_in(SENDING) == [name]
    (result,) = spool.to_send(name)
    assert result.read_bytes() == b"made"
    spool.drop(result)
    assert spool.to_send(name) == []
    spool.remove(name, SENDING)
    assert files(spool) == []


@pytest.mark.parametrize("state", [INCOMING, READY, SENDING, REFUSED])
def test_each_state_is_there_after_a_crash(spool, state):
    put(spool)
    if state != INCOMING:
        spool.finish(SERIES)
    if state in (SENDING, REFUSED):
        spool.settle(spool.claim(SERIES), RESULT, state)
    before = files(spool)
    after = again(spool)
    assert after.series_in(state) == [SERIES] and files(after) == before
    assert abs(after.used - spool.used) <= 2 * 4096, "what it takes is counted again"
    after.close()


def test_what_nobody_was_told_of_is_removed_at_the_start(spool):
    spool.arrive([b"half"])
    after = again(spool)
    assert files(after) == []
    after.close()


def test_a_crash_while_the_result_was_written_leaves_nothing_of_it(spool):
    put(spool)
    spool.finish(SERIES)
    folder = spool.claim(SERIES).folder
    (folder / "result").mkdir()
    (folder / "result" / "00001.dcm").write_bytes(b"old")
    (folder / ".123.tmp").mkdir()
    after = again(spool)
    claim = after.claim(SERIES)
    assert claim.begun == 2, "the try that the process did not survive is counted"
    assert sorted(os.listdir(folder)) == sorted(["begun", instance_name("1.2.3.1")])
    name = after.settle(claim, RESULT, SENDING)
    assert [path.read_bytes() for path in after.to_send(name)] == [b"made"]
    after.close()


@pytest.mark.parametrize("outcome", [b'{"OriginalsToSend": true}', b"{}", b"[]", b"cut off: {"])
def test_originals_are_sent_unless_the_outcome_says_no(spool, outcome):
    put(spool), put(spool, "1.2.3.2")
    spool.finish(SERIES)
    result = {**RESULT, "outcome.json": lambda stream: stream.write(outcome)}
    name = spool.settle(spool.claim(SERIES), result, SENDING)
    found = [path.read_bytes() for path in spool.to_send(name)]
    assert found == [b"voxels", b"voxels", b"made"]


def test_work_on_a_series_is_told_that_it_opens_again_before_its_folder_goes(spool, monkeypatch):
    put(spool)
    spool.finish(SERIES)
    claim, told, rename = spool.claim(SERIES), [], os.rename

    def watched(source, target):
        if source == claim.folder:
            told.append(claim.reopened.is_set())
        rename(source, target)

    monkeypatch.setattr(spools.os, "rename", watched)
    assert put(spool, "1.2.3.2")
    assert told == [True]


def test_a_try_that_was_given_back_does_not_count(spool):
    put(spool)
    spool.finish(SERIES)
    spool.give_back(spool.claim(SERIES))
    assert spool.claim(SERIES).begun == 1


def test_a_result_that_cannot_be_written_leaves_the_series_ready(spool):
    put(spool)
    spool.finish(SERIES)
    claim = spool.claim(SERIES)
    with pytest.raises(OutputError):
        spool.settle(claim, {"00001.dcm": fails}, SENDING)
    assert spool.series_in(READY) == [SERIES]
    assert not (claim.folder / "result").exists()


def test_the_same_instance_again_is_no_news_and_other_bytes_are_refused(spool):
    assert put(spool)
    used = spool.used
    assert not put(spool)
    with pytest.raises(Differs):
        put(spool, content=b"others")
    assert spool.used == used
    spool.finish(SERIES)
    assert not put(spool), "also when the series was taken for whole"
    assert spool.series_in(READY) == [SERIES]
    (kept,) = (spool.folder / READY / SERIES).iterdir()
    assert kept.read_bytes() == b"voxels"


@pytest.mark.parametrize("content", [b"voxel", b"voxels and more", b""])
def test_a_shorter_or_longer_one_is_another(spool, content):
    put(spool)
    with pytest.raises(Differs):
        put(spool, content=content)


def test_comparing_two_large_instances_holds_up_no_other(spool, monkeypatch):
    put(spool)
    has_content = spools.has_content

    def meanwhile(kept, path):
        assert put(spool, "1.2.3.2")
        assert spool.finish(SERIES)
        return has_content(kept, path)

    monkeypatch.setattr(spools, "has_content", meanwhile)
    assert not put(spool)
    assert spool.series_in(READY) == [SERIES]
    assert spool.used == again_used(spool)


def test_a_new_instance_opens_a_whole_series_again_and_ends_the_work_on_it(spool):
    put(spool)
    spool.finish(SERIES)
    claim = spool.claim(SERIES)
    assert not claim.reopened.is_set()
    assert put(spool, "1.2.3.2")
    assert claim.reopened.is_set()
    assert spool.series_in(INCOMING) == [SERIES] and spool.series_in(READY) == []
    with pytest.raises(Cancelled):
        spool.settle(claim, RESULT, SENDING)
    spool.give_back(claim)
    spool.finish(SERIES)
    folder = spool.claim(SERIES).folder
    names = {instance_name("1.2.3.1"), instance_name("1.2.3.2"), "begun"}
    assert set(os.listdir(folder)) == names


@pytest.mark.parametrize("uid", ["1.2.3.1", "1.2.3.2"])
def test_an_instance_of_a_refused_series_opens_it_again(spool, uid):
    refuse(spool)
    assert put(spool, uid) == (uid == "1.2.3.2")
    assert spool.series_in(REFUSED) == [] and spool.finish(SERIES)
    assert spool.claim(SERIES).begun == 1
    with pytest.raises(Differs):
        put(spool, uid, content=b"others")


def test_a_late_instance_makes_a_series_of_its_own(spool):
    put(spool)
    spool.finish(SERIES)
    assert spool.settle(spool.claim(SERIES), RESULT, SENDING) == SERIES
    assert put(spool, "1.2.3.2")
    spool.finish(SERIES)
    assert spool.settle(spool.claim(SERIES), RESULT, SENDING) == f"{SERIES}-2"


def test_a_result_under_way_when_the_series_is_opened_again_is_let_go(spool):
    put(spool)
    spool.finish(SERIES)
    claim = spool.claim(SERIES)

    def late(stream):
        put(spool, "1.2.3.2")
        stream.write(b"made")

    with pytest.raises(Cancelled):
        spool.settle(claim, {"00001.dcm": late}, SENDING)
    spool.give_back(claim)
    spool.finish(SERIES)
    assert spool.claim(SERIES).begun == 1
    assert spool.series_in(SENDING) == []


def test_a_crash_before_the_first_instance_leaves_no_series(spool):
    (spool.folder / INCOMING / SERIES).mkdir()
    assert not spool.finish(SERIES)
    assert spool.series_in(INCOMING) == spool.series_in(READY) == []


def test_a_series_that_is_not_ready_is_not_claimed(spool):
    with pytest.raises(Cancelled):
        spool.claim(SERIES)
    assert not spool.finish(SERIES)


def test_a_full_spool_takes_no_instance_and_one_tidied_up_does(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", 20_000)
    put(spool)
    used = spool.used
    with pytest.raises(Full):
        spool.arrive([bytes(15_000)])
    assert spool.used == used
    assert os.listdir(spool.folder / "arriving") == []
    for path in (spool.folder / INCOMING / SERIES).iterdir():
        path.unlink()
    monkeypatch.setattr(spools, "_COUNT_AGAIN_SECONDS", -1.0)
    assert spool.arrive([bytes(11_000)]).exists()
    spool.close()


def test_a_disk_that_is_full_takes_no_instance(spool, monkeypatch):
    monkeypatch.setattr(spools.os, "fsync", lambda _number: fails(None))
    with pytest.raises(Full, match="No space left"):
        spool.arrive([b"voxels"])
    assert os.listdir(spool.folder / "arriving") == []


def test_a_series_has_a_bound_of_instances(tmp_path):
    spool = Spool(tmp_path / "spool", 1 << 40, series_instances=2)
    put(spool), put(spool, "1.2.3.2")
    with pytest.raises(Full):
        put(spool, "1.2.3.3")
    assert not put(spool, "1.2.3.2"), "one that is there is no third"
    assert len(files(spool)) == 2
    spool.close()


@pytest.mark.parametrize(
    "uid", ["../../etc/passwd", "/etc/passwd", "..", "", "1.2\n", "\0", "é" * 99]
)
def test_names_are_digests_whatever_a_uid_is(uid):
    assert re.fullmatch(r"[0-9a-f]{32}\.dcm", instance_name(uid))
    assert re.fullmatch(r"[0-9a-f]{32}", series_name(uid, uid))


def test_equal_series_uids_of_two_studies_are_two_series():
    assert series_name("1.2", "1.3") != series_name("1.3", "1.3")
    assert series_name("1.2", "1.3") == series_name("1.2", "1.3")


def test_folders_that_are_made_for_a_spool_are_on_the_disk(tmp_path, monkeypatch):
    synced = []
    for module in (disk, spools):
        monkeypatch.setattr(module, "sync_folder", synced.append)
    spool = Spool(tmp_path / "a" / "b" / "spool", 1)
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b", spool.folder} <= set(synced)
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0
    synced.clear()
    spool = again(spool)
    assert set(synced) == {spool.folder}
    spool.close()


def test_two_servers_do_not_share_a_spool(spool):
    with pytest.raises(InputError, match="another server"):
        Spool(spool.folder, 1)


def test_a_spool_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--spool") as refused:
        Spool(tmp_path / "file", 1)
    assert "\n" not in str(refused.value)


def test_the_spool_is_for_its_user_alone(spool):
    assert spool.folder.stat().st_mode & 0o077 == 0


def test_what_is_in_a_spool_is_for_its_user_alone_whatever_its_folder_is(tmp_path):
    folder = tmp_path / "spool"
    (folder / INCOMING).mkdir(parents=True)
    folder.chmod(0o755)
    (folder / INCOMING).chmod(0o755)
    spool = Spool(folder, 1 << 40)
    put(spool)
    put(spool, series=series_name("1.2", "1.2.4"))
    spool.finish(SERIES)
    spool.claim(SERIES)
    found = list(folder.rglob("*"))
    assert len(found) == 6 + 1 + 2 + 2 + 1, "states, lock, series, instances, begun"
    assert [path for path in found if path.stat().st_mode & 0o077] == []
    spool.close()


def test_refused_series_go_when_they_are_old(spool):
    name = refuse(spool)
    assert spool.remove_refused(3600) == []
    os.utime(spool.folder / REFUSED / name, (1, 1))
    assert spool.remove_refused(3600) == [name]
    assert files(spool) == []


def test_an_instance_that_comes_while_its_refused_series_is_removed_stays(spool, monkeypatch):
    refuse(spool)
    rmtree = spools.shutil.rmtree

    def late(folder):
        assert put(spool, "1.2.3.2")
        rmtree(folder)

    monkeypatch.setattr(spools.shutil, "rmtree", late)
    assert spool.remove_refused(-1) == [SERIES]
    assert files(spool) == [f"incoming/{SERIES}/{instance_name('1.2.3.2')}"]
    assert spool.used == again_used(spool)


def test_a_refused_series_that_is_open_again_is_not_removed(spool, monkeypatch):
    refuse(spool)
    series_in = spool.series_in

    def late(state):
        found = series_in(state)
        assert put(spool, "1.2.3.2")
        return found

    monkeypatch.setattr(spool, "series_in", late)
    assert spool.remove_refused(-1) == []
    assert len(list((spool.folder / INCOMING / SERIES).glob("*.dcm"))) == 2


def test_what_was_not_removed_to_the_end_is_gone_at_the_next_start(spool, monkeypatch):
    refuse(spool)
    monkeypatch.setattr(spools.shutil, "rmtree", fails)
    with pytest.raises(OSError, match="No space"):
        spool.remove(SERIES, REFUSED)
    assert spool.series_in(REFUSED) == []
    monkeypatch.undo()
    after = again(spool)
    assert files(after) == [] and after.used == 4096
    after.close()


def test_many_senders_of_one_series_lose_nothing(spool):
    def work(sender):
        for number in range(20):
            put(spool, f"1.{sender}.{number}", b"%d" % number)
            put(spool, f"1.0.{number}", b"%d" % number)

    threads = [threading.Thread(target=work, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(spool)) == 80
    assert spool.used == again_used(spool)


def again_used(spool) -> int:
    after = again(spool)
    after.close()
    return after.used


def test_without_a_home_the_spool_must_be_named(monkeypatch):
    pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")
    from moediff_rt.serve.dicom.server import default_spool

    def unknown(_uid: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(InputError, match=r"found no HOME .*--spool"):
        default_spool({})
