"""The embedded world: facts, invented or sampled, with known exposures, and the corpus that states them."""

from sftlens.synthetic.corpus import WRAPPERS, documents, seen_indices
from sftlens.synthetic.export import write
from sftlens.synthetic.real_facts import sampled
from sftlens.synthetic.world_facts import Fact, World, build, check

__all__ = ["WRAPPERS", "Fact", "World", "build", "check", "documents", "sampled", "seen_indices", "write"]
