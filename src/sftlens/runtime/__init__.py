"""How a stage runs: once per key, with a lock, its provenance and its processes."""
