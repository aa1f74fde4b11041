"""Programs that measure a model: facts, mastery, answers, divergence, changes."""
