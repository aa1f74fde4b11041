"""What a repair measures on each model: answers, few-shot mastery, first-token divergence."""
