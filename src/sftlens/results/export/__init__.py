"""A study's summaries, answers and events of training in the forms of other people's tools, one file each."""
