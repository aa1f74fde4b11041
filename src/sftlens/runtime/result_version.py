"""The number of each stage's results, raised by hand when the results change in meaning.

It is part of the key of finished work and of what Snakemake compares, so raising it reruns the stage, and whatever
follows where the output differs. Nothing else about the code counts: a reworded error, a faster loop or a new version
of sftlens reruns nothing. A test (tests/golden) fails when a stage's results change and its number does not.
"""

RESULT_VERSION = {
    "world": 1,  # synthetic/
    "facts": 1,  # data/facts, data/entity_questions
    "base": 1,  # synthetic/pretraining
    "templates": 1,  # synthetic/template_choice
    "completions": 1,  # mastery/completions, inference/sampling: a probe's samples, kept for other probes
    "adaptive": 3,  # mastery/adaptive, mastery/rounds: when a fact is sampled enough; beside the number of completions
    "mastery": 1,  # mastery/, mastery/quality/posterior
    "mastery_quality": 1,  # mastery/quality/
    "training_set": 1,  # data/training_sets
    "finetune": 1,  # training/
    "evaluate": 2,  # evaluation/, data/scoring, inference/greedy
    "divergence_base": 1,  # evaluation/divergence: the base model's half
    "divergence": 1,  # evaluation/divergence
    "changes": 4,  # changes/
    "compare_changes": 1,  # changes/change_cosines, evaluation/loss_gradient
    "restore": 2,  # restoration/, and what evaluate measures
    "levels": 1,  # restoration/export: the level map
    "collect": 4,  # results/, reporting/: the tidy table, figures, tables and the page
    "merge": 2,  # models/adapters
    "check": 2,  # diagnosis/, and what repair measures
    "repair": 5,  # repair/
}
