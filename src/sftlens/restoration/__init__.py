"""Restoring chosen elements of a fine-tuned model to their pre-trained values (paper section 6)."""
