"""DeepSpeed ZeRO checkpoint folders in miniature, laid out as deepspeed.runtime writes them (stages 2 and 3, two ranks), with
the weights they must give in expected.safetensors. Made with torch 2.11.0 and safetensors: python make.py. The layout follows
deepspeed/utils/zero_to_fp32.py; a stand-in for deepspeed's loss scaler class is written so that a reader meets a foreign object."""
import os
import sys
import types
from collections import OrderedDict

import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
module = types.ModuleType("deepspeed.runtime.fp16.loss_scaler")
class LossScaler:
    pass
LossScaler.__module__ = module.__name__
LossScaler.__qualname__ = LossScaler.__name__ = "DynamicLossScaler"
module.DynamicLossScaler = LossScaler
for name in ("deepspeed", "deepspeed.runtime", "deepspeed.runtime.fp16"):
    sys.modules[name] = types.ModuleType(name)
sys.modules[module.__name__] = module

torch.manual_seed(5)
groups = [OrderedDict([("ridge.w", (3, 5)), ("ridge.b", (3,)), ("a", (2, 2, 2))]), OrderedDict([("n.g", (7,)), ("n.s", ())])]
weights = {n: torch.randn(s) for g in groups for n, s in g.items()}
frozen = {"f": torch.randn(4)}
buffers = {"sched": torch.randn(3).half(), "count": torch.tensor(9)}
world = 2
expected = {**weights, **frozen, "sched": buffers["sched"].float(), "count": buffers["count"], "tied": weights["a"]}


def write(stage, tag):
    folder = os.path.join(here, f"stage{stage}", tag)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(here, f"stage{stage}", "latest"), "w") as f:
        f.write(tag)
    parts = [[] for _ in range(world)]
    for g in groups:
        if stage == 2:
            flat = torch.cat([weights[n].flatten() for n in g])
            flat = torch.cat([flat, torch.zeros(-len(flat) % (2 * world))])
            for r, piece in enumerate(flat.chunk(world)):
                parts[r].append(piece.clone())
        else:
            for r in range(world):
                pieces = []
                for n in g:
                    flat = weights[n].flatten()
                    size = -(-len(flat) // world)
                    flat = torch.cat([flat, torch.zeros(size * world - len(flat))])
                    pieces.append(flat[r * size:(r + 1) * size])
                parts[r].append(torch.cat(pieces))
    for r in range(world):
        key = "fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"
        count = world if stage == 3 else [world] * len(groups)
        torch.save({"optimizer_state_dict": {"zero_stage": stage, "partition_count": count, key: parts[r], "loss_scaler": LossScaler()},
                    "ds_version": "0.10.0"}, os.path.join(folder, f"zero_pp_rank_{r}_mp_rank_00_optim_states.pt"))
        if stage == 2 and r > 0:
            continue
        name = "mp_rank_00_model_states.pt" if stage == 2 else f"zero_pp_rank_{r}_mp_rank_00_model_states.pt"
        fragments = {n: t if stage == 2 else t.chunk(world)[r].clone() for n, t in frozen.items()}
        torch.save({"module": {**{n: t.half() for n, t in weights.items()}, **buffers}, "buffer_names": list(buffers),
                    "param_shapes": [OrderedDict((n, torch.Size(s)) for n, s in g.items()) for g in groups],
                    "frozen_param_shapes": OrderedDict((n, t.shape) for n, t in frozen.items()),
                    "frozen_param_fragments": fragments, "shared_params": {"tied": "a"}, "ds_version": "0.10.0"},
                   os.path.join(folder, name))


write(2, "global_step7")
write(3, "last")
save_file({k: v.clone() for k, v in expected.items()}, os.path.join(here, "expected.safetensors"))
