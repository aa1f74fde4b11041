"""A fine-tuned model stored as its lossless difference from the base: checkpoint <-> delta."""
