"""Setting chosen elements of a fine-tuned model back to their pre-trained values (paper section 6)."""
