"""The embedded world: facts, invented or sampled, with known exposures, and the corpus that states them."""

from sftlens.world.corpus import WRAPPERS, documents, seen_indices
from sftlens.world.files import write
from sftlens.world.sampled import sampled
from sftlens.world.worldfacts import Fact, World, build, check

__all__ = ["WRAPPERS", "Fact", "World", "build", "check", "documents", "sampled", "seen_indices", "write"]
