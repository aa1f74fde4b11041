"""Programs on invented worlds: one of them, or an experiment over many."""
