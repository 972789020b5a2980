#!/usr/bin/env python3
"""sentence, clip_b and clip_l of `me2-eval score --captions` against transformers and sentence_transformers, called as MindEye2's final evaluation calls them.

    caption_networks.py ME2_EVAL [BPE.txt.gz [TRIPLES.json]]

BPE is CLIP's bpe_simple_vocab_16e6.txt.gz (default: the open_clip package's). Weights are random (seed 0): a BERT of 3 layers and two CLIP text towers of 3
and 4 layers, large enough that captions spread; what is compared is tokens, towers, pooling, cosines, means and ratios. TRIPLES: the golden case
caption_metrics' expected.json, or sentences made here. Needs: torch, transformers, sentence_transformers, safetensors, open_clip (made with 2.11, 5.23.0, 6.2.0, 0.7, 3.3.0); exits with 77 without them.
"""
import gzip
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors.torch import save_file
    from sentence_transformers import SentenceTransformer, util
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer, CLIPModel, CLIPConfig, CLIPTokenizer
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

package = importlib.util.find_spec("open_clip")
if len(sys.argv) < 3 and not package:
    print("skipped: no open_clip")
    sys.exit(77)
tool, bpe_file = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(package.origin), "bpe_simple_vocab_16e6.txt.gz")
torch.manual_seed(0)
torch.set_num_threads(1)
rng = random.Random(0)
TOLERANCE = 2e-5

if len(sys.argv) > 3:
    triples = [(t["predicted_from_brain"], t["git_from_image"], t["reference"]) for t in json.load(open(sys.argv[3]))["triples"]]
else:
    nouns = "dog surfboard zebra kitchen bench woman child's airplane bowl tennis-court red car, the bus; a 2nd horse. café".split()
    one = lambda: " ".join(["A", rng.choice(nouns), rng.choice(["on", "near", "in front of", "holding"]), "the", rng.choice(nouns)] + rng.sample(nouns, rng.randint(0, 9)))
    triples = [(one(), one(), one()) for _ in range(60)]
brain, image, reference = map(list, zip(*triples))


def bigger(net):  # the usual .02 would leave all captions alike
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.mul_(4)
    return net.eval()


def clip_vocabulary(folder):
    """merges.txt and vocab.json of CLIPTokenizer from CLIP's own file: bytes, bytes at word ends, merges, two specials."""
    merges = gzip.open(bpe_file).read().decode().split("\n")[1:49152 - 256 - 2 + 1]
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    signs = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    words = signs + [s + "</w>" for s in signs] + ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    json.dump({w: i for i, w in enumerate(words)}, open(f"{folder}/vocab.json", "w"))
    open(f"{folder}/merges.txt", "w").write("#version: 0.2\n" + "\n".join(merges) + "\n")
    return f"{folder}/vocab.json", f"{folder}/merges.txt"


def openai_names(net):
    out = {"token_embedding.weight": net.text_model.embeddings.token_embedding.weight, "positional_embedding": net.text_model.embeddings.position_embedding.weight,
           "ln_final.weight": net.text_model.final_layer_norm.weight, "ln_final.bias": net.text_model.final_layer_norm.bias, "text_projection": net.text_projection.weight.t()}
    for i, layer in enumerate(net.text_model.encoder.layers):
        at, own = f"transformer.resblocks.{i}.", layer.self_attn
        for part in "weight", "bias":
            out[at + f"attn.in_proj_{part}"] = torch.cat([getattr(p, part) for p in (own.q_proj, own.k_proj, own.v_proj)])
            out[at + f"attn.out_proj.{part}"] = getattr(own.out_proj, part)
            for theirs, ours in ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"):
                out[at + f"{ours}.{part}"] = getattr(getattr(layer, theirs), part)
            out[at + f"mlp.c_fc.{part}"], out[at + f"mlp.c_proj.{part}"] = getattr(layer.mlp.fc1, part), getattr(layer.mlp.fc2, part)
    return {k: v.detach().contiguous().clone() for k, v in out.items()}


def three_ways(name, embed, out):
    """The four numbers the evaluation prints: means of the diagonals, and their ratio."""
    with torch.no_grad():
        b, i, r = embed(brain), embed(image), embed(reference)
    mean = lambda x, y: util.pytorch_cos_sim(x, y).diag().double().mean().item()
    out[name], out[name + "_img_ref"], out[name + "_brain_img"] = mean(b, r), mean(i, r), mean(b, i)
    out[name + "_relative"] = out[name + "_brain_img"] / out[name + "_img_ref"]


with tempfile.TemporaryDirectory() as folder:
    want, arguments = {}, []
    tokenizer = CLIPTokenizer(*clip_vocabulary(folder))
    for option, width, layers in ("clip_b", 128, 3), ("clip_l", 192, 4):
        net = bigger(CLIPModel(CLIPConfig(text_config=dict(vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64,
                                                            projection_dim=96, hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407),
                                          vision_config=dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1, image_size=32, patch_size=16), projection_dim=96)))

        def embed(texts):
            features = net.get_text_features(**tokenizer(list(texts), return_tensors="pt", padding=True))
            return features if torch.is_tensor(features) else features.pooler_output  # transformers 5 wraps it

        three_ways(option, embed, want)
        save_file(openai_names(net), f"{folder}/{option}.safetensors")
        arguments += [f"--{option.replace('_', '-')}", f"{folder}/{option}.safetensors"]
    # A BERT vocabulary of these captions: their words, and pieces for what is left.
    words = sorted({w for t in brain + image + reference for w in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", t.lower())})
    letters = sorted(set("".join(words)))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters] + [w for i, w in enumerate(words) if len(w) > 1 and i % 4]
    os.mkdir(f"{folder}/encoder")
    open(f"{folder}/encoder/vocab.txt", "w", encoding="utf-8").write("\n".join(vocabulary) + "\n")
    bert = bigger(BertModel(BertConfig(vocab_size=len(vocabulary), hidden_size=96, num_hidden_layers=3, num_attention_heads=6, intermediate_size=192, max_position_embeddings=512), add_pooling_layer=False))
    bert.save_pretrained(f"{folder}/encoder")
    BertTokenizer(f"{folder}/encoder/vocab.txt").save_pretrained(f"{folder}/encoder")
    sentence = SentenceTransformer(modules=[Transformer(f"{folder}/encoder", max_seq_length=256), Pooling(96, pooling_mode="mean"), Normalize()], device="cpu")
    three_ways("sentence", lambda texts: sentence.encode(list(texts), convert_to_tensor=True, show_progress_bar=False), want)
    for name, texts in ("brain", brain), ("image", image), ("reference", reference):
        json.dump({str(i): t for i, t in enumerate(texts)}, open(f"{folder}/{name}.json", "w"))
    got = json.loads(subprocess.run([tool, "score", "--captions", f"{folder}/brain.json", "--image-captions", f"{folder}/image.json", "--references", f"{folder}/reference.json",
                                     "--metrics", "sentence,clip_b,clip_l", "--sentence", f"{folder}/encoder", *arguments, "--clip-vocab", bpe_file, "--resamples", "50", "--json",
                                     "--threads", "1"], check=True, capture_output=True, text=True).stdout)["scores"]
worst = 0
for name, value in want.items():
    difference = abs(got[name]["value"] - value)
    worst = max(worst, difference)
    print(f"{name:<20} me2 {got[name]['value']:.7f}   packages {value:.7f}   {difference:.1e}")
print(f"{len(triples)} captions, largest difference {worst:.1e}")
sys.exit(worst > TOLERANCE)
