#!/usr/bin/env python3
"""The made-up release with files that torch.save wrote, through the same tests.

    release.py BUILD

Takes the files of `me2-test-release make`, writes last.pth as a training checkpoint of the reference (optimizer and scheduler state beside the
weights), the unCLIP file as Lightning does (callbacks, loops, optimizer states, hyper parameters), the others with torch.save, and runs
tests/cli/release.bats on them. Needs torch; exits 77 without.
"""
import collections
import os
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError as error:
    print("skipped:", error)
    sys.exit(77)

build = os.path.abspath(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([f"{build}/tests/me2-test-release", "make", folder], check=True)

    def ordered(tree):
        return collections.OrderedDict((k, v.clone()) for k, v in tree.items())

    path = f"{folder}/train_logs/final_subj01_pretrained_1sess_24bs/last.pth"
    weights = ordered(torch.load(path, weights_only=True)["model_state_dict"])
    parameters = [torch.nn.Parameter(v.clone()) for v in weights.values() if v.is_floating_point()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-4)
    for p in parameters:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-4, total_steps=100)
    torch.save({"epoch": 149, "model_state_dict": weights, "optimizer_state_dict": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(),
                "train_losses": [1.5, 1.25], "test_losses": [1.75], "lrs": [3e-4, 2e-4]}, path)
    path = f"{folder}/unclip6_epoch0_step110000.ckpt"
    weights = ordered(torch.load(path, weights_only=True)["state_dict"])
    torch.save({"epoch": 0, "global_step": 110000, "pytorch-lightning_version": "2.0.1", "state_dict": weights, "loops": {"fit_loop": {"state_dict": {}}},
                "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(.1), "dirpath": "logs"}},
                "optimizer_states": [{"state": {0: {"step": torch.tensor(1.), "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 1e-5}]}],
                "lr_schedulers": [], "hyper_parameters": {"scale_factor": .13025}}, path)
    for name, key in (("sd_image_var_autoenc.pth", None), ("bigG_to_L_epoch8.pth", "model_state_dict"), ("git-large-coco/pytorch_model.bin", None)):
        tree = torch.load(f"{folder}/{name}", weights_only=True)
        torch.save({key: ordered(tree[key])} if key else ordered(tree), f"{folder}/{name}")
    run = subprocess.run(["bats", os.path.join(here, "../cli/release.bats")], env={**os.environ, "ME2_RELEASE": folder, "ME2_BUILD": build})
    sys.exit(run.returncode)
