"""Repairing a model that was fine-tuned elsewhere: one job, which keeps every finished measurement."""

REPAIR = repair_job.Repairing(JOBS)

if STUDY.repair:

    rule repair:
        input:
            **REPAIR.inputs(),
        output:
            **REPAIR.outputs(),
            # The repaired model; or only a README.md that says that nothing beats leaving it alone.
            model=directory(f"{REPAIR.folder}/model"),
        log:
            f"{LOGS}/repair.log",
        benchmark:
            f"{LOGS}/repair.tsv"
        conda:
            "../../envs/train.yaml"
        resources:
            **JOBS.resources.of("repair"),
        params:
            arguments=REPAIR.arguments,
            options=REPAIR.options,
            stamps=REPAIR.stamps(),
            version=RESULT_VERSION["repair"],
            state=PATHS.state,
        shell:
            'python "$SCRIPTS"/repair.py {params.arguments:q} --out $(dirname {output.report:q})'
            " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
