"""The embedded world: facts, invented or sampled, with known exposures, and the tiny model pretrained on them."""
