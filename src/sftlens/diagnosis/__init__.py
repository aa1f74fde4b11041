"""What fine-tuning cost and gave: two models' answers to the same questions, compared and judged."""
