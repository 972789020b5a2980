"""Small files for the reader and GLM tests, with what other programs make of them.

    python tests/golden/readers/make.py

hdf5/*: h5py. glm.json: numpy least squares on regressors from scipy.stats.gamma. Made with numpy 2, scipy 1, h5py 3.
"""
import json, os
import numpy as np, h5py, scipy.stats, scipy.io

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(11)

with h5py.File(os.path.join(here, "mixed.hdf5"), "w") as f:
    f["f2"] = np.array([[0, 1.5, -2.25], [65504, 6e-8, 0.1]], "f2")
    f["f4"] = np.arange(12, dtype="f4").reshape(4, 3) / 7
    f["big"] = np.arange(6, dtype=">i4").reshape(3, 2)
    f["i8"] = np.array([2**53 + 1, -3])
    f["bool"] = np.array([True, False, True])
    f["scalar"] = np.float64(2.5)
    f["text"] = "words"
    f.create_dataset("chunked", data=np.arange(600, dtype="i2").reshape(60, 10), chunks=(7, 4), compression="gzip", shuffle=True)
    f["group/inner"] = np.arange(3)
    f["external"] = h5py.ExternalLink("elsewhere.hdf5", "/x")
    f["loop"] = h5py.SoftLink("/loop")
    f.create_dataset("empty", shape=(0, 4), dtype="f4")
    layout = h5py.VirtualLayout(shape=(2,), dtype="i4")
    layout[0] = h5py.VirtualSource("elsewhere.hdf5", "x", shape=())
    f.create_virtual_dataset("virtual", layout)

scipy.io.savemat(os.path.join(here, "small.mat"), {"order": np.array([[1.0, 2, 3], [4, 5, 6]]), "small": np.array([[7]], dtype="u1"), "words": "text"}, do_compression=True)

# fortran order and big-endian arrays
np.save(os.path.join(here, "fortran.npy"), np.asfortranarray(np.arange(24, dtype="f4").reshape(2, 3, 4)))
np.save(os.path.join(here, "big.npy"), np.arange(6, dtype=">i2").reshape(3, 2))
np.lib.format.write_array(open(os.path.join(here, "v3.npy"), "wb"), np.array([1.5, np.nan]), version=(3, 0))


def hrf_integral(t):
    g = lambda n: scipy.stats.gamma.cdf(t, n)
    return (g(6) - g(16) / 6) / (5 / 6)


def response(onset, duration, times):
    if duration == 0:
        g = lambda n: scipy.stats.gamma.pdf(times - onset, n)
        return (g(6) - g(16) / 6) / (5 / 6)
    return hrf_integral(times - onset) - hrf_integral(times - onset - duration)


tr, n, drift = 1.5, 80, 2
times = np.arange(n) * tr
events = [(6.0, 3.0), (20.5, 0.0), (33.0, 3.0), (47.25, 4.5), (80.0, 3.0)]
Y = rng.normal(size=(n, 3)) + 100 + 0.1 * times[:, None]
for k, (o, d) in enumerate(events):
    Y += response(o, d, times)[:, None] * (k + 1)
Y = Y.astype("f4")
P = np.stack([np.linspace(-1, 1, n) ** p for p in range(drift + 1)], 1)
H = np.stack([response(o, d, times) for o, d in events], 1)
betas = [np.linalg.lstsq(np.c_[H[:, i], H.sum(1) - H[:, i], P], Y.astype("f8"), rcond=None)[0][0] for i in range(len(events))]
block = [Y[(times >= o + 4) & (times < o + 4 + max(d, 0))].mean(0) if d else Y[int((o + 4) // tr)] for o, d in events]
json.dump({"tr": tr, "drift": drift, "shift": 4, "events": events, "series": Y.tolist(), "response": H.T.tolist(), "lss": np.array(betas).tolist(),
           "block": np.array(block, "f8").tolist(), "detrended": (Y - P @ np.linalg.lstsq(P, Y.astype("f8"), rcond=None)[0]).tolist()}, open(os.path.join(here, "glm.json"), "w"))
