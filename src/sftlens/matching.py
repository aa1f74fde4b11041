"""Judging an output: does it contain an accepted answer (arXiv 2509.16596)."""

from collections.abc import Sequence


def contains(output: str, aliases: Sequence[str]) -> bool:
    """Whether `output` contains one of the accepted strings as it stands: raw substring, case-sensitive."""
    return any(alias in output for alias in aliases)
