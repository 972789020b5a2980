#!/usr/bin/env python3
"""expected.json: comparisons of runs, answers to a survey, and scores of several subjects, with the numbers of other packages.

Made with scipy 1.17.1 (bootstrap, permutation_test, binomtest) and statsmodels (ttost_paired, multipletests); the enumeration of subjects
is numpy's. Values are rounded to 4 decimals before anything is computed from them.
"""
import itertools
import json

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

rng = np.random.default_rng(20)
out = {"packages": {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "numpy": np.__version__}}


def paired(a, b, margin):
    a, b = np.round(a, 4), np.round(b, 4)
    d = a - b
    interval = stats.bootstrap((d,), np.mean, n_resamples=200_000, method="BCa", batch=2000, rng=np.random.default_rng(1)).confidence_interval
    permutation = stats.permutation_test((a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True,
                                         n_resamples=np.inf if len(d) <= 13 else 200_000, batch=2000, rng=np.random.default_rng(2))
    return {"a": a.tolist(), "b": b.tolist(), "margin": margin, "difference": d.mean(), "low": interval.low, "high": interval.high,
            "p_permutation": permutation.pvalue, "p_equivalence": ttost_paired(a, b, -margin, margin)[0]}


base = rng.normal(.4, .1, 40)
skewed = rng.gamma(.5, .04, 60)
small = rng.normal(.5, .1, 9)
cases = {"pixcorr": paired(base + rng.normal(.03, .05, 40), base, .05), "ssim": paired(skewed, rng.gamma(.5, .04, 60), .02),
         "effnet": paired(small - .04 + rng.normal(0, .04, 9), small, .01), "alexnet2": paired(base, base + rng.normal(0, .004, 40), .02)}
order = sorted(cases)
out["paired"] = cases
out["holm"] = dict(zip(order, multipletests([cases[k]["p_permutation"] for k in order], method="holm")[1].tolist()))

out["binomial"] = [{"k": k, "n": n, "p": stats.binomtest(k, n).pvalue, "low": stats.binomtest(k, n).proportion_ci().low, "high": stats.binomtest(k, n).proportion_ci().high}
                   for k, n in [(0, 1), (1, 1), (5, 10), (9, 10), (10, 10), (3, 17), (58, 100), (719, 1000), (4891, 5000), (100, 201)]]

raters = np.array([[18, 20], [15, 20], [11, 20], [19, 20], [9, 15], [17, 20], [14, 20], [20, 20], [6, 10], [16, 20], [13, 20], [12, 20]], float)
of_raters = stats.bootstrap((raters[:, 0], raters[:, 1]), lambda k, n, axis: k.mean(axis) / n.mean(axis), paired=True, n_resamples=200_000, method="BCa", batch=2000,
                            rng=np.random.default_rng(3)).confidence_interval
out["raters"] = {"answers": raters.astype(int).tolist(), "value": raters[:, 0].sum() / raters[:, 1].sum(), "low": of_raters.low, "high": of_raters.high,
                 "p": stats.binomtest(int(raters[:, 0].sum()), int(raters[:, 1].sum())).pvalue}

# Subjects whose images all score the same: the bootstrap over subjects takes S^S equally likely values, all of which are listed here.
for name, values in {"two": [0., 1.], "four": [.1, .2, .4, .8]}.items():
    means = np.sort([np.mean(draw) for draw in itertools.product(values, repeat=len(values))])
    at = lambda p: means[min(len(means) - 1, int(np.ceil(p * len(means))) - 1)]  # the value where the distribution function passes p
    out.setdefault("subjects", {})[name] = {"values": values, "low": at(.025), "high": at(.975)}
# Subjects and images: every pair of draws of 2 subjects of 3 images.
x = [[.1, .2, .6], [.5, .7, .9]]
of_images = [[np.mean(draw) for draw in itertools.product(s, repeat=3)] for s in x]
means = np.sort([(u + v) / 2 for i, j in itertools.product(range(2), repeat=2) for u in of_images[i] for v in of_images[j]])
out["subjects"]["nested"] = {"values": x, "low": means[int(np.ceil(.025 * len(means))) - 1], "high": means[int(np.ceil(.975 * len(means))) - 1]}
json.dump(out, open("expected.json", "w"), indent=1)
