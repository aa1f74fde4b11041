"""What fine-tuning changed, and the accuracy after setting the most-changed parameters back."""

MEASURE = "{order}-{region}"


rule changes:
    input:
        base=base_of,
        finetuned=f"{CELL}/checkpoint",
    output:
        summary=f"{CELL}/changes/{MEASURE}/summary.json",
        tensors=f"{CELL}/changes/{MEASURE}/tensors.parquet",
        histogram=f"{CELL}/changes/{MEASURE}/histogram.parquet",
    params:
        options=grid_paths.options(STUDY.restoration, ["epsilon", "seed"]),
        common=common_options("changes"),
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/changes-{MEASURE}.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/changes-{MEASURE}.tsv"
    conda:
        "../../envs/train.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/changes.py {input.base:q} {input.finetuned:q} --order {wildcards.order}"
        " --region {wildcards.region:q} --out $(dirname {output.summary:q})"
        " {params.options:q} {params.common:q} > {log:q} 2>&1"


def restore_options(wildcards):
    options = training_set_options(wildcards) + ["--bos", bos_of(wildcards)]
    return options + grid_paths.options(STUDY.restoration)


rule restore:
    input:
        base=base_of,
        finetuned=f"{CELL}/checkpoint",
        histogram=f"{CELL}/changes/{MEASURE}/histogram.parquet",
        facts=mastery_of,
        train=order_of,
    output:
        answers=f"{CELL}/restore/{MEASURE}/k{{ratio}}/answers.parquet",
        summary=f"{CELL}/restore/{MEASURE}/k{{ratio}}/summary.json",
    params:
        options=restore_options,
        common=common_options("restore"),
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/restore-{MEASURE}-k{{ratio}}.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/restore-{MEASURE}-k{{ratio}}.tsv"
    conda:
        "../../envs/train.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/restore.py {input.base:q} {input.finetuned:q} --ratio {wildcards.ratio}"
        " --order {wildcards.order} --region {wildcards.region:q} --changes $(dirname {input.histogram:q})"
        " --facts {input.facts:q} --out $(dirname {output.summary:q})"
        " {params.options:q} {params.common:q} > {log:q} 2>&1"
