"""Programs that restore and repair a fine-tuned model, and store it small."""
