# Pretraining on several subjects, and fine-tuning (or training) one.


if config.get("pretrain_subjects"):

    rule pretrain:
        input:
            targets=targets(),
            subjects=subject_inputs(config["pretrain_subjects"]),
        output:
            store=directory(f"{OUT}/pretrained"),
        params:
            step=STEP,
            command=lambda wildcards: pretrain_command(None).replace("OUTPUT", f"{OUT}/pretrained"),
        log:
            f"{OUT}/logs/pretrain.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("pretrain", pretrain_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("pretrain", pretrain_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("pretrain", pretrain_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


if not MODELS.get("brain"):

    rule finetune:
        input:
            targets=targets(),
            subject=subject_inputs([SUBJECT]),
            pretrained=pretrained_model(),
        output:
            store=directory(f"{OUT}/finetuned"),
        params:
            step=STEP,
            command=lambda wildcards: finetune_command(None).replace("OUTPUT", f"{OUT}/finetuned"),
        log:
            f"{OUT}/logs/finetune.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("finetune", finetune_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("finetune", finetune_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("finetune", finetune_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"
