"""Writes nibabel.json: shapes, affines and sums per volume of four files as nibabel 5 reads them.

    python tests/golden/readers/make_nibabel.py FOLDER_OF_NIFTI_FILES
"""
import json, os, sys
import nibabel, numpy as np

out = {}
for folder, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        if name.endswith((".nii", ".nii.gz")):
            image = nibabel.load(os.path.join(folder, name))
            a = image.get_fdata()
            a4 = a.reshape(*a.shape[:3], -1)
            w = np.arange(a4[..., 0].size) % 1009
            out[name] = {"shape": list(a.shape), "affine": image.affine.ravel().tolist(),
                         "volumes": [[float(v.sum()), float((v.ravel() * w).sum())] for v in np.moveaxis(a4, -1, 0)]}
json.dump(out, open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "nibabel.json"), "w"), indent=1)
