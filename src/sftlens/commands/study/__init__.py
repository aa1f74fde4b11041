"""Programs that a study runs, and that describe it."""
