"""Beam search of transformers (4.37.2, torch 2.11.0 CPU) over the golden case git_caption's weights and features, with the image
encoder bypassed as MindEye2 does: python make.py. Writes expected.json and prints, as a check, that greedy ids are the case's."""
import json
import os

import torch
from safetensors.torch import load_file
from transformers import GitConfig, GitForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
case = os.path.join(here, "..", "..", "git_caption")
raw = json.load(open(os.path.join(case, "config.json")))
keys = ("vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act max_position_embeddings layer_norm_eps "
        "bos_token_id eos_token_id pad_token_id").split()
config = GitConfig(vision_config=raw["vision_config"], **{k: raw[k] for k in keys})
model = GitForCausalLM(config).eval()
weights = load_file(os.path.join(case, "model.safetensors"))
missing, unexpected = model.load_state_dict(weights, strict=False)
assert not [k for k in missing if "image_encoder" not in k and "position_ids" not in k], missing
io = load_file(os.path.join(case, "io.safetensors"))


class Bypass(torch.nn.Module):
    def forward(self, pixel_values, **kwargs):
        class Out:
            last_hidden_state = pixel_values.flatten(0, 1)
        return Out


model.git.image_encoder = Bypass()
x = io["in.image_features"].unsqueeze(1)
with torch.no_grad():
    greedy = model.generate(pixel_values=x, max_length=20, do_sample=False, num_beams=1)
    print("greedy equals the case:", torch.equal(greedy, io["out.generated_ids"][:, :greedy.shape[1]]))
    out = []
    for bias in (0.0, 1.0, 2.0, 3.0):  # added to the end token's logit, so that captions of all lengths occur
        model.output.bias.data[raw["eos_token_id"]] = weights["output.bias"][raw["eos_token_id"]] + bias
        for beams in (2, 3, 5):
            rows = model.generate(pixel_values=x, max_length=20, do_sample=False, num_beams=beams)
            out.append({"eos_bias": bias, "beams": beams, "ids": rows.tolist()})
            print(bias, beams, rows.shape, [(r == raw["eos_token_id"]).nonzero().flatten().tolist() for r in rows])
with open(os.path.join(here, "expected.json"), "w") as f:
    json.dump(out, f)
