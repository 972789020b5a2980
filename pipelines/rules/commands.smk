# The command lines, without threads; OUTPUT stands for the store or model to write.


def simulate_command(inputs):
    return f"me2-preprocess simulate OUTPUT {config['simulate']} --seed {SEED}"


def subject_command(name):
    return config["subject_stores"][name]


def targets_command(inputs):
    further = "".join(f" --{name} {MODELS[name]}" for name in ("vae_lowlevel", "convnext") if MODELS.get(name)).replace("--vae_lowlevel", "--vae")
    return f"me2-embed images {stimuli()} OUTPUT --model {MODELS.get('encoder')}{further} {options('targets')}"


def pretrain_command(inputs):
    subjects = " ".join(f"--subjects {subject_store(n)}" for n in config.get("pretrain_subjects") or [])
    return f"me2-embed train {targets()} OUTPUT {subjects} {options('train')} {options('pretrain')} --seed {SEED}"


def finetune_command(inputs):
    start = "".join(f" --pretrained {m}" for m in pretrained_model())
    sessions = f" --sessions {config['sessions']}" if config.get("sessions") else ""
    return f"me2-embed train {targets()} OUTPUT --subjects {subject_store(SUBJECT)}{sessions}{start} {options('train')} {options('finetune')} --seed {SEED}"


def align_command(inputs):
    return f"me2-align apply {subject_store(SUBJECT)} OUTPUT --model {brain_model()} --subject {SUBJECT} --split test {options('align')}"


def embed_command(inputs):
    return f"me2-embed brain {OUT}/latent.zarr OUTPUT --model {brain_model()} {options('embed')}"


def prior_command(inputs):
    return f"me2-prior sample {OUT}/tokens.zarr OUTPUT --model {brain_model()} --seed {SEED} {options('prior')}"


def decode_command(inputs):
    vae = f" --vae {MODELS['vae']}" if MODELS.get("vae") else ""
    return f"me2-decode unclip {OUT}/prior.zarr OUTPUT --model {MODELS.get('unclip')}{vae} --seed {SEED} {options('decode')}"


def caption_command(inputs):
    return f"me2-caption generate {OUT}/prior.zarr OUTPUT {options('caption')}" + "".join(
        f" --{option} {MODELS[name]}" for name, option in (("caption", "model"), ("converter", "converter"), ("git", "git")) if MODELS.get(name)
    )


def lowlevel_command(inputs):
    return f"me2-decode lowlevel {OUT}/tokens.zarr OUTPUT --model {MODELS.get('vae_lowlevel')} {options('lowlevel')}"


def refine_command(inputs):
    return f"me2-decode refine {OUT}/recon.zarr {OUT}/caption.zarr OUTPUT --model {MODELS.get('sdxl')} --seed {SEED} {options('refine')}"


def blend_command(inputs):
    upper = "refined" if asked("refine") else "recon"
    return f"me2-decode blend {OUT}/{upper}.zarr {OUT}/lowlevel.zarr OUTPUT {options('blend')}"


def score_command(inputs):
    return f"me2-eval score {recon()} --truth {truth()} {options('score')}"


def retrieval_command(inputs):
    return f"me2-eval retrieval {OUT}/tokens.zarr --truth {targets()} --truth-array clip_tokens {options('retrieval')}"


def captions_command(inputs):
    return f"me2-eval score --captions {OUT}/caption.zarr --references {stimuli()} {options('captions')}"
