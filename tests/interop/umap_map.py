#!/usr/bin/env python3
"""Our UMAP against umap-learn, by how many neighbourhoods each keeps (scikit-learn's trustworthiness), on the same data.

    umap_map.py BUILD                        # compare; a map of ours more than .02 below the mean of umap-learn's is an error
    umap_map.py --write tests/golden/twins/umap   # the twin of the unit test anew: umap-learn 0.5.12, scikit-learn 1.9.1

Data: image embeddings in groups, and brain embeddings that are noisy copies of them, as the report's map has; a closed curve in many dimensions;
one cloud without structure. Exits 77 without umap-learn.
"""
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import umap
    from sklearn.manifold import trustworthiness
except ImportError as error:
    print("skipped:", error)
    sys.exit(77)


def data(n, features, seed):
    rng = np.random.default_rng(seed)
    centres = 2 * rng.standard_normal((12, features))
    image = centres[rng.integers(0, 12, n // 2)] + rng.standard_normal((n // 2, features))
    brain = 0.7 * image + 0.7 * rng.standard_normal(image.shape)
    angle = rng.uniform(0, 2 * np.pi, n)
    curve = np.stack([np.cos((k % 3 + 1) * angle + k) for k in range(features)], 1) + 0.05 * rng.standard_normal((n, features))
    return {"image_and_brain": np.concatenate([image, brain]).astype("f4"), "curve": curve.astype("f4"), "cloud": rng.standard_normal((n, features)).astype("f4")}


def theirs(x, seed):
    return umap.UMAP(random_state=seed, n_jobs=1).fit_transform(x).astype("f4")


if sys.argv[1] == "--write":
    import json
    from safetensors.numpy import save_file
    tensors, kept = {}, {}
    for name, x in data(150, 8, 3).items():
        maps = [theirs(x, seed) for seed in (1, 2, 3)]
        tensors[name], tensors[name + "_umap_learn"] = x, maps[0]
        kept[name] = {"trustworthiness": [trustworthiness(x, y, n_neighbors=15) for y in maps]}
    folder = pathlib.Path(sys.argv[2])
    save_file(tensors, folder / "io.safetensors")
    (folder / "config.json").write_text(json.dumps({"neighbours": 15, "data": kept, "reference": "tests/interop/umap_map.py --write: umap-learn 0.5.12, scikit-learn 1.9.1"}, indent=1) + "\n")
    sys.exit(0)

bad = False
with tempfile.TemporaryDirectory() as folder:
    for name, x in data(600, 64, 4).items():
        np.save(f"{folder}/x.npy", x)
        subprocess.run([f"{sys.argv[1]}/tests/me2-test-umap", f"{folder}/x.npy", f"{folder}/y.npy"], check=True)
        mine = trustworthiness(x, np.load(f"{folder}/y.npy"), n_neighbors=15)
        others = [trustworthiness(x, theirs(x, seed), n_neighbors=15) for seed in (1, 2, 3)]
        low = mine < np.mean(others) - 0.02
        bad |= low
        print(f"{name:<16} trustworthiness (15 neighbours): me2 {mine:.4f}, umap-learn {np.mean(others):.4f} ({min(others):.4f} to {max(others):.4f}){'  TOO LOW' if low else ''}")
sys.exit(int(bad))
