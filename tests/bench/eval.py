"""Evaluation against the Python it replaces, two threads each, our BCa intervals included. Twice: whole processes; and without their start, which is
the time of `me2-eval --version` (LibTorch is loaded) taken from ours, and for the peer the time from files to scores without imports (nets: with building
the network and reading its weights; captions: with reading WordNet). Peaks of resident memory are those of whole processes.
Needs: numpy, zarr, torch, torchvision, open_clip, safetensors, scikit-image, scipy, nltk, rouge_score, pycocoevalcap; a row whose peer is missing is passed over.

    tests/bench/eval.py BUILD/bench [--rows pixels,alexnet,inception,effnet,swav,clip,retrieval,captions,bca] [--folder KEPT] [--prepare]
        [--pairs 1000] [--net-pairs 64] [--captions CAPTIONS.json --references REFERENCES.json] [--peer no]
--prepare writes the inputs only, so that a quiet machine is needed for the measurement alone.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

ROWS = ["pixels", "alexnet", "inception", "effnet", "swav", "clip", "retrieval", "captions", "bca"]
parser = argparse.ArgumentParser()
parser.add_argument("bench")
parser.add_argument("--rows", default=",".join(ROWS))
parser.add_argument("--folder")
parser.add_argument("--prepare", action="store_true")
parser.add_argument("--pairs", type=int, default=1000)
parser.add_argument("--net-pairs", type=int, default=64)
parser.add_argument("--embeddings", type=int, default=1000)
parser.add_argument("--captions")
parser.add_argument("--references")
parser.add_argument("--peer", default="yes")  # yes, no, or (inside) the row to run here
args = parser.parse_args()
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
MANIFESTS = {"alexnet": "alexnet", "inception": "inception_v3", "effnet": "efficientnet_b1", "swav": "resnet50", "clip": "openai_clip_vit_L_14"}
GAINS = {"effnet": 1.5625, "inception": 1.625}
SCORES = {"alexnet": "alexnet2,alexnet5", "inception": "inception", "effnet": "effnet", "swav": "swav", "clip": "clip"}


# ---- inputs

def make_pairs(folder, n):
    if os.path.exists(f"{folder}/b{n}.npy"):
        return
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 3, 16, 16), dtype=np.uint8).repeat(16, 2).repeat(16, 3)
    np.save(f"{folder}/a{n}.npy", coarse)
    np.save(f"{folder}/b{n}.npy", np.clip(coarse.astype(np.int16) + rng.integers(-60, 60, coarse.shape, dtype=np.int16), 0, 255).astype(np.uint8))


def make_net(folder, name):
    """Uniform weights of variance 1 / fan-in under the official names; norms near the identity."""
    import torch
    from safetensors.torch import save_file
    path = f"{folder}/{name}.safetensors"
    if os.path.exists(path):
        return
    with open(f"{root}/tests/manifests/{MANIFESTS[name]}.json") as f:
        shapes = json.load(f)
    generator, out = torch.Generator().manual_seed(1), {}
    for key, shape in shapes.items():
        if name == "clip" and not key.startswith("visual."):
            continue
        if not shape:
            continue
        uniform = torch.rand(shape, generator=generator) * 2 - 1
        if len(shape) >= 2:
            out[key] = uniform * (3.0 / np.prod(shape[1:])) ** 0.5 * GAINS.get(name, 1)
        elif key.endswith("running_var"):
            out[key] = 1 + 0.25 * (uniform + 1)
        elif key.endswith("weight"):
            out[key] = 1 + 0.1 * uniform
        else:
            out[key] = 0.02 * uniform
    save_file(out, path)


def make_embeddings(folder, n):
    import zarr
    if os.path.exists(f"{folder}/image{n}.zarr/done"):
        return
    rng = np.random.default_rng(1)
    arrays = [zarr.create_array(f"{folder}/{kind}{n}.zarr/clip", shape=(n, 256, 1664), dtype="f2", chunks=(1, 256, 1664), compressors=None, overwrite=True) for kind in ("image", "brain")]
    for kind in ("image", "brain"):
        zarr.open_group(f"{folder}/{kind}{n}.zarr", mode="a")
    for i in range(n):
        image = rng.standard_normal((256, 1664), dtype=np.float32)
        arrays[0][i] = image.astype(np.float16)
        arrays[1][i] = (image * 0.01 + rng.standard_normal((256, 1664), dtype=np.float32)).astype(np.float16)
    open(f"{folder}/image{n}.zarr/done", "w").close()


def make_captions(folder):
    if args.captions:
        for source, name in ((args.captions, "captions"), (args.references, "references")):
            with open(source) as f, open(f"{folder}/{name}.json", "w") as g:
                json.dump(json.load(f), g)
        return
    rng = np.random.default_rng(2)
    nouns = "man woman dog cat horse bus train street kitchen table pizza ball skateboard snow beach wave bird giraffe elephant sheep field tree car sign clock".split()
    verbs = "standing sitting riding holding eating looking walking playing flying running parked cutting".split()
    adjectives = "large small red white young old wooden black green tall".split()

    def sentence():
        a, b, c = rng.choice(nouns, 3)
        return f"A {rng.choice(adjectives)} {a} {rng.choice(verbs)} next to a {b} on the {rng.choice(adjectives)} {c}."

    with open(f"{folder}/captions.json", "w") as f, open(f"{folder}/references.json", "w") as g:
        json.dump({str(i): sentence() for i in range(982)}, f)
        json.dump({str(i): [sentence() for _ in range(5)] for i in range(982)}, g)


def make_scores(folder):
    rng = np.random.default_rng(3)
    np.save(f"{folder}/scores.npy", rng.gamma(2.0, 0.1, (1000, 10)))


def prepare(folder, row):
    if row == "pixels":
        make_pairs(folder, args.pairs)
    elif row in MANIFESTS:
        make_pairs(folder, args.net_pairs)
        make_net(folder, row)
    elif row == "retrieval":
        make_embeddings(folder, args.embeddings)
    elif row == "captions":
        make_captions(folder)
    else:
        make_scores(folder)


# ---- peers: (seconds, {score: value})

def peer_pixels(folder):
    import torch
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity
    from torchvision.transforms import Resize
    torch.set_num_threads(2)
    start = time.perf_counter()
    resize = Resize(425, antialias=False)
    a, b = (resize(torch.from_numpy(np.load(f"{folder}/{x}{args.pairs}.npy")).float() / 255) for x in "ab")
    r = np.mean([np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a.numpy(), b.numpy())])
    s = np.mean([structural_similarity(rgb2gray(x.permute(1, 2, 0).numpy()), rgb2gray(y.permute(1, 2, 0).numpy()), gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False, data_range=1.0) for x, y in zip(a, b)])
    return time.perf_counter() - start, {"pixcorr": r, "ssim": s}


def peer_net(folder, name):
    import torch
    import torchvision
    from safetensors.torch import load_file
    from torchvision.models.feature_extraction import create_feature_extractor
    from torchvision.transforms import Compose, Normalize, Resize
    if name == "clip":
        import open_clip
    torch.set_num_threads(2)
    n = args.net_pairs
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    start = time.perf_counter()
    weights = load_file(f"{folder}/{name}.safetensors")
    if name == "clip":
        model = open_clip.model._build_vision_tower(768, open_clip.get_model_config("ViT-L-14")["vision_cfg"], quick_gelu=True)
        model.load_state_dict({k[7:]: v for k, v in weights.items()})
        nodes = [None]
    else:
        make = {"alexnet": torchvision.models.alexnet, "inception": torchvision.models.inception_v3, "effnet": torchvision.models.efficientnet_b1,
                "swav": torchvision.models.resnet50}[name]
        model = make(weights=None, **({"transform_input": True, "init_weights": False} if name == "inception" else {}))
        model.load_state_dict(weights, strict=False)
        nodes = ["features.4", "features.11"] if name == "alexnet" else ["avgpool"]
    model.eval()
    transform = Compose([Resize({"alexnet": 256, "inception": 342, "effnet": 255, "swav": 224, "clip": 224}[name], antialias=False), Normalize(*(clip if name == "clip" else imagenet))])
    sets = [torch.from_numpy(np.load(f"{folder}/{x}{n}.npy")).float() / 255 for x in "ab"]
    out = {}
    with torch.no_grad():
        for node, score in zip(nodes, SCORES[name].split(",")):  # the reference runs AlexNet once for each of its two layers
            net = create_feature_extractor(model, return_nodes=[node]) if node else model
            features = []
            for images in sets:
                y = net(torch.stack([transform(image) for image in images]))
                features.append((y[node] if node else y).float().flatten(1).numpy())
            truth, recon = features
            if name in ("effnet", "swav"):
                out[score] = np.mean([1 - np.corrcoef(x, y)[0, 1] for x, y in zip(truth, recon)])
            else:
                r = np.corrcoef(truth, recon)[:n, n:]
                out[score] = np.mean(np.sum(r < np.diag(r), 0)) / (n - 1)
    return time.perf_counter() - start, out


def peer_retrieval(folder):
    import torch
    import zarr
    torch.set_num_threads(2)
    n = args.embeddings
    start = time.perf_counter()
    brain, image = (torch.from_numpy(zarr.open_array(f"{folder}/{kind}{n}.zarr/clip", mode="r")[:]) for kind in ("brain", "image"))
    rng = np.random.default_rng(0)
    forward, backward = [], []
    ways = min(300, n)
    for _ in range(30):
        index = torch.from_numpy(rng.choice(n, ways, replace=False))
        a, b = (torch.nn.functional.normalize(x[index].float().flatten(1), dim=-1) for x in (brain, image))
        similarity = a @ b.T / (a.norm(dim=1, keepdim=True) * b.norm(dim=1))
        right = torch.arange(ways)
        forward.append((similarity.argmax(0) == right).float().mean().item())
        backward.append((similarity.argmax(1) == right).float().mean().item())
    return time.perf_counter() - start, {"brain_retrieval": np.mean(forward), "image_retrieval": np.mean(backward)}


def peer_captions(folder):
    import io
    import types
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.stem.porter import PorterStemmer
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from rouge_score import rouge_scorer

    class Words(WordNetCorpusReader):
        def __init__(self):
            self._lexnames = []
            super().__init__(nltk.data.FileSystemPathPointer(os.environ.get("ME2_WORDNET", "/usr/share/wordnet")), types.SimpleNamespace(provenances={}, fileids=lambda *a, **k: []))

        def open(self, name):
            return io.StringIO("".join(f"{i:02d}\tlex{i}\t1\n" for i in range(45))) if name == "lexnames" else super().open(name)

        def provenances(self):
            return {}

    start = time.perf_counter()
    with open(f"{folder}/captions.json") as f, open(f"{folder}/references.json") as g:
        said, refs = json.load(f), json.load(g)
    words, tokenize, stemmer = Words(), NLTKWordTokenizer().tokenize, PorterStemmer()
    out = {"meteor": np.mean([max(single_meteor_score(tokenize(r), tokenize(said[k]), stemmer=stemmer, wordnet=words, alpha=0.9, beta=3, gamma=0.5) for r in refs[k]) for k in said])}
    scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"])
    out["rouge1"] = np.mean([max(scorer.score(r, said[k])["rouge1"].fmeasure for r in refs[k]) for k in said])

    def plain(text):  # in place of the Java tokeniser
        return " ".join(t for t in (w.strip('.,!?:;-"\'()`') for w in text.lower().split()) if t)

    truth, got = {k: [plain(r) for r in refs[k]] for k in said}, {k: [plain(said[k])] for k in said}
    bleu, _ = Bleu(4).compute_score(truth, got, verbose=0)
    out.update({f"bleu{i + 1}": v for i, v in enumerate(bleu)})
    out["rouge_l"] = Rouge().compute_score(truth, got)[0]
    out["cider"] = Cider().compute_score(truth, got)[0]
    return time.perf_counter() - start, out


def peer_bca(folder):
    from scipy.stats import bootstrap
    x = np.load(f"{folder}/scores.npy")
    start = time.perf_counter()
    out = {}
    for c in range(x.shape[1]):
        got = bootstrap((x[:, c],), np.mean, n_resamples=10000, method="BCa", vectorized=True, rng=np.random.default_rng(c))
        out[str(c)] = [got.confidence_interval.low, got.confidence_interval.high]
    return time.perf_counter() - start, out


# ---- measurement

def measured(command, fail=True):
    """(seconds, peak MiB, stdout, last line of stderr if it failed) of a process."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=None if fail else err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        text, errors = out.read(), err.read().strip().split("\n")[-1]
    if process.returncode and fail:
        sys.exit(process.returncode if process.returncode > 0 else 1)
    return seconds, usage.ru_maxrss / 1024, text, errors if process.returncode else ""


def ours(folder, row):
    if row == "bca":
        _, peak, text, _ = measured([os.path.join(args.bench, "eval_bench"), f"{folder}/scores.npy", "10000", "2"])
        lines = text.split("\n")
        return float(lines[0]), peak, {str(c): [float(v) for v in lines[c + 1].split()[1:]] for c in range(10)}
    command = [os.path.join(args.bench, "../bin/me2-eval"), "retrieval" if row == "retrieval" else "score", "--json", "--threads", "2"]
    if row == "pixels":
        command += [f"{folder}/b{args.pairs}.npy", "--truth", f"{folder}/a{args.pairs}.npy", "--metrics", "pixcorr,ssim"]
    elif row in MANIFESTS:
        command += [f"{folder}/b{args.net_pairs}.npy", "--truth", f"{folder}/a{args.net_pairs}.npy", f"--{row}", f"{folder}/{row}.safetensors", "--metrics", SCORES[row]]
    elif row == "retrieval":
        command += [f"{folder}/brain{args.embeddings}.zarr", "--truth", f"{folder}/image{args.embeddings}.zarr"]
    else:
        command += ["--captions", f"{folder}/captions.json", "--references", f"{folder}/references.json", "--metrics", "meteor,rouge1,rouge_l,bleu,cider"]
    seconds, peak, text, _ = measured(command)
    return seconds, peak, {k: v["value"] for k, v in json.loads(text)["scores"].items()}


def compare(folder, row):
    prepare(folder, row)
    if args.prepare:
        return
    count = {"pixels": args.pairs, "retrieval": args.embeddings, "captions": 982, "bca": 1000}.get(row, args.net_pairs)
    seconds, peak, scores = ours(folder, row)
    start = 0 if row == "bca" else min(measured([os.path.join(args.bench, "../bin/me2-eval"), "--version"])[0] for _ in range(3))
    head = f"{row:<10} n {count:<5} me2 {seconds:8.3f} s, start {start:.3f} {peak:6.0f} MiB"
    if args.peer == "no":
        print(head, flush=True)
        return
    command = [sys.executable, os.path.abspath(__file__), args.bench, "--folder", folder, "--peer", row, "--pairs", str(args.pairs), "--net-pairs", str(args.net_pairs),
               "--embeddings", str(args.embeddings)]
    whole, _, text, errors = measured(command, fail=False)
    if errors:
        print(f"{head}   peer passed over: {errors}", flush=True)
        return
    theirs, their_peak, values = json.loads(text.strip().split("\n")[-1])
    worst = max((float(np.max(np.abs(np.subtract(scores[k], v)))) for k, v in values.items() if k in scores), default=float("nan"))
    ratios = f"{theirs / (seconds - start):6.2f}x" + ("" if row == "bca" else f" (whole {whole:.2f} s: {whole / seconds:.2f}x)")
    print(f"{head}   Python {theirs:8.3f} s {their_peak:6.0f} MiB   {ratios}   scores differ by up to {worst:.1e}", flush=True)


if args.peer in ROWS:
    import resource
    run = {"pixels": peer_pixels, "retrieval": peer_retrieval, "captions": peer_captions, "bca": peer_bca}.get(args.peer) or (lambda folder: peer_net(folder, args.peer))
    seconds, values = run(args.folder)
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, {k: np.asarray(v).tolist() for k, v in values.items()}]))
else:
    with tempfile.TemporaryDirectory() as temporary:
        where = args.folder or temporary
        os.makedirs(where, exist_ok=True)
        for row in args.rows.split(","):
            compare(where, row)
