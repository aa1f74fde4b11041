"""What a repair is given: facts and task examples in the user's files -> prompts and halves."""
