"""What fine-tuning changed, in one cell and in all side by side; the accuracy after setting parameters back."""

MEASURE = "{criterion}-{region}"


rule changes:
    input:
        base=JOBS.base,
        finetuned=f"{CELL}/checkpoint",
    output:
        summary=f"{CELL}/changes/{MEASURE}/summary.json",
        tensors=f"{CELL}/changes/{MEASURE}/tensors.parquet",
        histogram=f"{CELL}/changes/{MEASURE}/histogram.parquet",
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/changes-{MEASURE}.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/changes-{MEASURE}.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **JOBS.resources.of("changes"),
    params:
        options=grid_paths.options(STUDY.restoration),
        version=RESULT_VERSION["changes"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/changes.py {input.base:q} {input.finetuned:q} --criterion {wildcards.criterion}'
        " --region {wildcards.region:q} --out $(dirname {output.summary:q})"
        " {params.options:q} --state {params.state:q} > {log:q} 2>&1"


rule compare_changes:
    input:
        unpack(JOBS.compare_changes_inputs),
    output:
        summary=f"{PATHS.root}/{{model}}/compare_changes/summary.json",
        table=f"{PATHS.root}/{{model}}/compare_changes/cosines.parquet",
    log:
        f"{LOGS}/{{model}}/compare_changes.log",
    benchmark:
        f"{LOGS}/{{model}}/compare_changes.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **JOBS.resources.of("compare_changes"),
    params:
        options=JOBS.loading,
        version=RESULT_VERSION["compare_changes"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/compare_changes.py {input.base:q} {input.finetuned:q} --facts {input.facts:q}'
        " --out {output.table:q} --summary {output.summary:q}"
        " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"


rule restore:
    input:
        unpack(JOBS.restore_inputs),
        base=JOBS.base,
        finetuned=f"{CELL}/checkpoint",
    output:
        answers=f"{CELL}/restore/{MEASURE}/k{{ratio}}/answers.parquet",
        summary=f"{CELL}/restore/{MEASURE}/k{{ratio}}/summary.json",
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/restore-{MEASURE}-k{{ratio}}.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/restore-{MEASURE}-k{{ratio}}.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **JOBS.resources.of("restore"),
    params:
        options=JOBS.restore_options,
        version=RESULT_VERSION["restore"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/restore.py {input.base:q} {input.finetuned:q} --ratio {wildcards.ratio}'
        " --criterion {wildcards.criterion} --region {wildcards.region:q}"
        " --facts {input.facts:q} --out $(dirname {output.summary:q})"
        " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
