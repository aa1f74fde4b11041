"""The study of sftlens as one DAG: facts -> base -> mastery -> training sets -> fine-tuned models -> measurements -> report."""

from snakemake.utils import min_version

min_version("9.0")

# A configuration given on the command line replaces the demo's; Snakemake would merge the two.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/facts.smk"
include: "workflow/rules/base.smk"
include: "workflow/rules/mastery.smk"
include: "workflow/rules/mastery_quality.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/divergence.smk"
include: "workflow/rules/restore.smk"
include: "workflow/rules/repair.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/targets.smk"


rule all:
    default_target: True
    input:
        # Of the whole study only: a run with `--config only=...` leaves them as they are.
        [rules.report.output.page, rules.results.output.table] if ASKED.whole and JOBS.products else [],
        JOBS.repair.outputs().values() if ASKED.whole else [],
        [JOBS.target(name) for name in ASKED.targets],
        # Directly besides the aggregates: else a deleted result would go unnoticed.
        JOBS.files(ASKED.products),
