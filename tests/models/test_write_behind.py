"""Writing behind a computation: the same bytes, and errors of either side."""

import random
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftlens.models import write_behind


def test_parts_of_any_size_come_in_their_order(tmp_path: Path) -> None:
    generator = random.Random(0)
    sizes = [0, 1, 100, *(generator.randrange(1, 1 << 20) for _ in range(40)), 3 * write_behind.STRIDE, 5]
    parts = [generator.randbytes(size) for size in sizes]
    write_behind.write(tmp_path / "file", iter(parts))
    assert (tmp_path / "file").read_bytes() == b"".join(parts)


def test_an_error_of_the_computation_is_raised(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one"
        raise KeyError("two")

    with pytest.raises(KeyError, match="two"):
        write_behind.write(tmp_path / "file", parts())


@pytest.mark.parametrize("number", [1000, 3])
def test_an_error_of_writing_ends_the_computation(tmp_path: Path, number: int) -> None:
    """Also one of the last part."""
    before, asked = resource.getrlimit(resource.RLIMIT_FSIZE), []

    def parts() -> Iterator[bytes]:
        for part in range(number):
            asked.append(part)
            yield bytes(50_000)

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_behind.write(tmp_path / "file", parts())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(asked) < 20
