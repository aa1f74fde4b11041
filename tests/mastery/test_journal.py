"""A journal gives back what was appended, whatever became of its end."""

from pathlib import Path

import pytest

from sftlens.mastery.journal import journal, read_journal

RECORDS = [b"one", b"\0\0\0", bytes(range(256)) * 300]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    with journal(tmp_path / "journal") as append:
        for record in RECORDS:
            append(record)
            assert list(read_journal(tmp_path / "journal"))[-1] == record  # it is there before the writer is done
    return tmp_path / "journal"


def test_a_torn_tail_is_cut_off(written: Path) -> None:
    assert list(read_journal(written)) == RECORDS
    whole = written.read_bytes()
    ends = [0, 11, 22, len(whole)]
    for length in [*range(24), len(whole) - 1, len(whole)]:
        written.write_bytes(whole[:length])
        assert list(read_journal(written)) == RECORDS[: sum(length >= end for end in ends[1:])], length


@pytest.mark.parametrize("place", [0, 4, 9, 12, 20, 100])
def test_nothing_is_read_from_a_damaged_record_on(written: Path, place: int) -> None:
    damaged = bytearray(written.read_bytes())
    damaged[place] ^= 1
    written.write_bytes(damaged)
    assert list(read_journal(written)) == RECORDS[: 0 if place < 11 else 1 if place < 22 else 2]


def test_zeros_at_the_end_are_no_records(written: Path) -> None:
    written.write_bytes(written.read_bytes() + bytes(4096))
    assert list(read_journal(written)) == RECORDS


def test_nobody_appends_to_the_journal_of_another(written: Path) -> None:
    with pytest.raises(FileExistsError), journal(written):
        pass
