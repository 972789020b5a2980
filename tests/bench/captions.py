"""GIT (large) captions, beam 3, 20 word pieces, 4 samples, against transformers' generate with the image encoder bypassed: the same
random weights, threads and ids. The second of two runs each. Needs: transformers, torch, safetensors."""
import json
import os
import subprocess
import sys
import tempfile
import time

try:
    import torch
    from safetensors.torch import save_file
    from transformers import GitConfig, GitForCausalLM
except ImportError as e:
    print("skipped:", e)
    sys.exit(0)

threads = int(os.environ.get("THREADS", len(os.sched_getaffinity(0))))
torch.set_num_threads(threads)
torch.manual_seed(1)
config = GitConfig(vision_config={"hidden_size": 1024, "num_hidden_layers": 1, "intermediate_size": 16, "num_attention_heads": 2, "image_size": 224, "patch_size": 14})
model = GitForCausalLM(config).eval()
features = torch.randn(4, 257, 1024)


class Bypass(torch.nn.Module):
    def forward(self, pixel_values, **kwargs):
        class Out:
            last_hidden_state = pixel_values.flatten(0, 1)
        return Out


model.git.image_encoder = Bypass()
with tempfile.TemporaryDirectory() as folder:
    save_file({k: v.contiguous() for k, v in model.state_dict().items() if "image_encoder" not in k}, folder + "/model.safetensors")
    json.dump({"num_attention_heads": 12}, open(folder + "/config.json", "w"))
    save_file({"features": features}, folder + "/features")
    with torch.inference_mode():
        for _ in range(2):
            start = time.perf_counter()
            want = model.generate(pixel_values=features.unsqueeze(1), max_length=20, num_beams=3, do_sample=False)
            theirs = time.perf_counter() - start
    out = subprocess.run([sys.argv[1] + "/caption_bench", folder, folder + "/features", "3", str(threads)], capture_output=True, text=True, check=True,
                         env={**os.environ, "OMP_NUM_THREADS": str(threads)}).stdout.split()
ours, ids = float(out[0]), [int(i) for i in out[1:]]
print(f"{'work':<48}{'ours':>10}{'peer':>10}{'peer/ours':>11}")
print(f"{f'GIT-large, beam 3, 4 samples, {threads} threads (s)':<48}{ours:>10.3f}{theirs:>10.3f}{theirs / ours:>11.2f}")
print("ids equal:", ids == want.flatten().tolist())
