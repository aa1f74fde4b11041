"""How the tensors of a checkpoint become a model in memory: on which devices, and in which type it computes."""
