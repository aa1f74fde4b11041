"""Files are written whole or not at all, and a damaged one is told from a good one."""

import os
import signal
import sys

import pandas as pd
import pytest

from sftlens import files
from sftlens.errors import DataError

TABLE = pd.DataFrame({"fact_id": ["test/P17/00000", "test/P17/00001"], "value": [0.5, 1.0]})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_failed_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError("no")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.txt"]


def test_failed_writing_of_a_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "checkpoint"
    with files.atomic_path(path) as partial:
        partial.mkdir()
        (partial / "weights").write_text("old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as partial:
        partial.mkdir()
        (partial / "weights").write_text("half")
        raise RuntimeError("no")
    assert (path / "weights").read_text() == "old"
    assert names(tmp_path) == ["checkpoint"]


def test_folder_replaces_a_folder_with_all_its_files(tmp_path):
    path = tmp_path / "checkpoint"
    for name in ("first", "second"):
        with files.atomic_path(path) as partial:
            partial.mkdir()
            (partial / name).touch()
    assert names(path) == ["second"]
    assert names(tmp_path) == ["checkpoint"]


def folder_of(path, word):
    with files.atomic_path(path) as partial:
        partial.mkdir()
        for name in ("first", "second"):
            (partial / name).write_text(word)


def read(path):
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "as on NFS"])
def test_a_folder_is_the_old_or_the_new_one_wherever_its_writer_is_killed(tmp_path, monkeypatch, exchanges):
    """Two renames are one too many; where nothing else can be done, the next writer brings the folder back."""
    if not exchanges:
        monkeypatch.setattr(files, "exchange", lambda *_: False)
    path, killed, events = tmp_path / "checkpoint", True, 0
    while killed:
        events += 1
        folder_of(path, "old")
        writer = os.fork()
        if not writer:
            left = events

            def watch(event, _):
                nonlocal left
                left -= event.startswith(("os.", "shutil.", "open"))
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            folder_of(path, "new")
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(writer, 0)[1])
        if exchanges:
            assert read(path) in [dict.fromkeys(("first", "second"), word) for word in ("old", "new")]
        elif not path.exists():
            with pytest.raises(RuntimeError), files.atomic_path(path):
                raise RuntimeError("the next writer fails, too")
            assert read(path) == {"first": "old", "second": "old"}
    assert events > 8 and read(path) == {"first": "new", "second": "new"}


def test_a_reader_never_misses_a_folder_that_is_replaced(tmp_path):
    path = tmp_path / "checkpoint"
    folder_of(path, "0")
    writer = os.fork()
    if not writer:
        for number in range(200):
            folder_of(path, str(number))
        os._exit(0)
    while not os.waitpid(writer, os.WNOHANG)[0]:
        assert path.is_dir()


def test_leavings_of_a_killed_writer_are_no_obstacle(tmp_path):
    path = tmp_path / "table.txt"
    with files.atomic_path(path) as partial:
        partial.write_text("new")
        leavings = partial.name
    (tmp_path / leavings).mkdir()
    files.write_text(path, "newer")
    assert path.read_text() == "newer"
    assert names(tmp_path) == ["table.txt"]


def test_folders_on_the_way_are_made(tmp_path):
    files.write_json(tmp_path / "a" / "b" / "c.json", {"ä": [1, None]})
    assert files.read_json(tmp_path / "a" / "b" / "c.json") == {"ä": [1, None]}


def test_value_that_is_no_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "summary.json"
    files.write_json(path, {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"loss": float("nan")})
    assert files.read_json(path) == {"loss": 1.0}


def test_table_comes_back_as_it_was_and_with_equal_bytes(tmp_path):
    files.write_parquet(tmp_path / "a.parquet", TABLE)
    files.write_parquet(tmp_path / "b.parquet", TABLE.copy())
    pd.testing.assert_frame_equal(files.read_parquet(tmp_path / "a.parquet"), TABLE)
    assert files.sha256(tmp_path / "a.parquet") == files.sha256(tmp_path / "b.parquet")


@pytest.mark.parametrize("size", [0, 3, 60, -8])
def test_truncated_table_is_named(tmp_path, size):
    path = tmp_path / "mastery.parquet"
    files.write_parquet(path, TABLE)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"mastery\.parquet: not a readable Parquet file .*make it again"):
        files.read_parquet(path)


def test_damaged_column_is_named(tmp_path):
    path = tmp_path / "mastery.parquet"
    files.write_parquet(path, TABLE)
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"mastery\.parquet: not a readable"):
        files.read_parquet(path)


def test_missing_column_names_the_file_and_what_there_is(tmp_path):
    path = tmp_path / "facts.parquet"
    files.write_parquet(path, TABLE)
    with pytest.raises(DataError, match=r"facts\.parquet: column 'bucket' is missing .*fact_id, value"):
        files.read_parquet(path, ["fact_id", "bucket"])


def test_only_the_columns_that_are_used_are_read(tmp_path, monkeypatch):
    """A table of answers is mostly texts, of which the intervals read none."""
    path = tmp_path / "answers.parquet"
    files.write_parquet(path, TABLE.assign(output="a long text", bucket="D1"))
    asked = []
    read = pd.read_parquet
    monkeypatch.setattr(pd, "read_parquet", lambda path, columns: asked.append(columns) or read(path, columns=columns))
    assert list(files.read_parquet(path, ["bucket", "fact_id"], ["value", "gone"])) == ["fact_id", "value", "bucket"]
    assert list(files.read_parquet(path, ["bucket"], rest=True)) == ["fact_id", "value", "output", "bucket"]
    assert asked == [["fact_id", "value", "bucket"], None]


@pytest.mark.parametrize("text", ["", '{"metrics": [', '{"metrics": 1}}', "\udcff"])
def test_damaged_json_is_named(tmp_path, text):
    path = tmp_path / "summary.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"summary\.json: not valid JSON .*damaged"):
        files.read_json(path)


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "study.json")
    with pytest.raises(DataError, match=r"study\.json: is a named pipe"):
        files.read_json(tmp_path / "study.json")


@pytest.mark.parametrize("read", [files.read_json, files.read_parquet, files.sha256])
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"gone\.x: no such file; make it first or correct the path"):
        read(tmp_path / "gone.x")


def test_hash_of_a_folder_follows_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    first = files.tree_sha256(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = files.tree_sha256(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, renamed, files.tree_sha256(tmp_path)}) == 3
    (tmp_path / "b").write_text("1")
    (tmp_path / "b").rename(tmp_path / "a")
    assert files.tree_sha256(tmp_path) == first


def test_text_of_a_parquet_table_that_is_no_unicode_is_damage(tmp_path):
    path = tmp_path / "table.parquet"
    pd.DataFrame({"fact_id": ["a-text-to-be-spoilt"] * 3}).to_parquet(path, compression=None)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"a-text-to", b"a-tex\xff-to"[:9]))
    assert len(path.read_bytes()) == len(whole) and path.read_bytes() != whole
    with pytest.raises(DataError, match="not a readable Parquet file"):
        files.read_parquet(path)
