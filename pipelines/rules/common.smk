# What the rules share: the configuration, commands, and what the tools say of themselves by --dry-run.
import os
import shlex
import sys

sys.path.insert(0, workflow.basedir)
from estimates import NOWHERE, dry_run, memory_mb, runtime_minutes

OUT = config.get("out", "out/run").rstrip("/")
SUBJECT = config.get("subject", "subj01")
MODELS = config.get("models") or {}
INPUTS = config.get("inputs") or {}
OPTIONS = config.get("options") or {}
SHARDS = config.get("shards") or {}
SEED = config.get("seed", 42)
STEP = os.path.join(workflow.basedir, "step.sh")
BIN = os.path.abspath(config.get("bin", os.path.join(workflow.basedir, os.pardir, "build", "bin")))

# Each product the configuration may ask for under `stages`, and its file.
PRODUCTS = {
    "pretrain": "pretrained", "finetune": "finetuned", "align": "latent.zarr", "embed": "tokens.zarr", "prior": "prior.zarr",
    "decode": "recon.zarr", "lowlevel": "lowlevel.zarr", "caption": "caption.zarr", "refine": "refined.zarr", "blend": "blended.zarr",
    "score": "scores.json", "retrieval": "retrieval.json", "captions": "captions.json", "report": "report.html",
}
STAGES = config.get("stages") or list(PRODUCTS)

shell.prefix(f"export PATH={shlex.quote(BIN)}:$PATH; set -euo pipefail; ")


def options(stage):
    """Further options of a stage, from the configuration."""
    return OPTIONS.get(stage) or ""


def asked(*stages):
    return all(stage in STAGES for stage in stages)


def required_files():
    """What the configuration lists under `files`, and models and inputs it names elsewhere."""
    listed = config.get("files") or []
    named = {f"models: {name}": path for name, path in MODELS.items()}
    for name, path in INPUTS.items():
        named.update({f"inputs: {n}": p for n, p in path.items()} if isinstance(path, dict) else {f"inputs: {name}": path})
    known = {f["path"] for f in listed}
    return listed + [{"path": path, "what": what} for what, path in named.items() if path and path not in known]


def there(path):
    """A folder that holds nothing is not there yet."""
    return os.path.exists(path) and not (os.path.isdir(path) and not os.listdir(path))


def missing_inputs():
    return [f for f in required_files() if not there(f["path"])]


def inputs_table():
    lines = []
    for f in required_files():
        size = f"(about {f['gb']} GB)  " if "gb" in f else ""
        lines.append(f"{'ok     ' if there(f['path']) else 'MISSING'}  {f['path']}  {size}{f.get('what', '')}")
    n = len(missing_inputs())
    lines.append(f"{n} of {len(lines)} files are missing" if n else f"all {len(lines)} files are there")
    return "\n".join(lines)


def wanted(wildcards):
    """The products asked for; names every missing file before any work."""
    if missing_inputs():
        raise WorkflowError(f"files of this configuration are missing\n{inputs_table()}")
    if not os.path.exists(os.path.join(BIN, "me2-align")):
        raise WorkflowError(f"no tools in {BIN}: make -f Makefile.pipeline build makes them, `bin` in the configuration says where they are")
    unknown = [s for s in STAGES if s not in PRODUCTS]
    if unknown:
        raise WorkflowError(f"stages: {unknown} unknown; there are {list(PRODUCTS)}")
    return [f"{OUT}/{PRODUCTS[s]}" for s in STAGES]


def stimuli():
    return INPUTS.get("stimuli") or (f"{OUT}/simulated/stimuli.zarr" if "simulate" in config else f"{OUT}/stimuli.zarr")


def simulated():
    """What a rule that reads simulated data depends on."""
    return [f"{OUT}/simulated"] if "simulate" in config else [stimuli()]


def subject_store(name):
    given = (INPUTS.get("subjects") or {}).get(name)
    return given or (f"{OUT}/simulated/{name}.zarr" if "simulate" in config else f"{OUT}/{name}.zarr")


def subject_inputs(names):
    return [f"{OUT}/simulated"] if "simulate" in config else [subject_store(n) for n in names]


def brain_model():
    """The model of this subject: trained here, or given."""
    return MODELS.get("brain") or f"{OUT}/finetuned"


def pretrained_model():
    if MODELS.get("pretrained"):
        return [MODELS["pretrained"]]
    return [f"{OUT}/pretrained"] if config.get("pretrain_subjects") else []


def weights(*names):
    """The files of the models that are there. Of a folder the weights: a folder's own time does not tell of what is in it."""
    given = [MODELS[name] for name in names if MODELS.get(name)]
    inside = [os.path.join(path, "model.safetensors") for path in given]
    return [file if os.path.exists(file) else path for file, path in zip(inside, given)]


def targets():
    return INPUTS.get("targets") or f"{OUT}/targets.zarr"


def truth():
    return INPUTS.get("truth") or stimuli()


def recon():
    """What is scored: reconstructions made elsewhere, the blend, or our own."""
    return INPUTS.get("recon") or (f"{OUT}/blended.zarr" if asked("blend") else f"{OUT}/recon.zarr")


def shards(stage):
    return int(SHARDS.get(stage, 1))


def resource(stage, name, fallback=None):
    return ((config.get("resources") or {}).get(stage) or {}).get(name, fallback)


def plan(stage, command, inputs, threads=0):
    """{} as long as inputs are missing: Snakemake asks again before the job runs."""
    if not all(os.path.exists(str(f)) for f in inputs):
        return {}
    part = f" --shard 1/{shards(stage)}" if shards(stage) > 1 else ""
    return dry_run(f"{command.replace('OUTPUT', NOWHERE)} --threads {threads}{part}", BIN)


def cores(stage, command=None, inputs=()):
    """The configuration's number, else what the dry run says the work is worth."""
    configured = resource(stage, "threads", config.get("threads"))
    if configured or not command:
        return configured or 1
    return plan(stage, command, inputs).get("threads", 1)


def megabytes(stage, command, inputs, attempt, threads):
    """What the dry run says is held, with some room; the configuration's number where it has one. More by attempt."""
    configured = resource(stage, "mem_mb")
    return memory_mb({} if configured else plan(stage, command, inputs, threads), configured, attempt)


def minutes(stage, command, inputs, attempt, threads):
    configured = resource(stage, "runtime")
    return runtime_minutes({} if configured else plan(stage, command, inputs, threads), configured, attempt)
