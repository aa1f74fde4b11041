"""Programs that fine-tune a model."""
