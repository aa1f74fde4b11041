"""Supervised fine-tuning on a DeepSpeed engine (paper section 3): base model, training set -> fine-tuned checkpoint."""
