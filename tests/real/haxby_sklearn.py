"""scikit-learn on the folds of haxby.sh: FOLDER/{betas,stimulus,split}RUN.npy. Prints "name,hits,of" lines.
Penalties are chosen on the training runs of each fold, leaving one of them out at a time, as haxby.sh lets me2-align do."""
import sys
import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold

folder = sys.argv[1]
models = {
    "Ridge to the same embeddings": lambda: GridSearchCV(Ridge(), {"alpha": np.logspace(0, 5, 6)}, cv=KFold(11), scoring="r2"),
    "LogisticRegression": lambda: GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=KFold(11)),
}
for name, model in models.items():
    hits = of = 0
    for run in range(1, 13):
        x, y, split = (np.load(f"{folder}/{array}{run}.npy") for array in ("betas", "stimulus", "split"))
        train, test = split == 0, split == 1
        if name.startswith("Ridge"):
            prediction = model().fit(x[train], np.eye(8)[y[train]]).predict(x[test]).argmax(1)
        else:
            prediction = model().fit(x[train], y[train]).predict(x[test])
        hits += int((prediction == y[test]).sum())
        of += int(test.sum())
    print(f"scikit-learn {sklearn.__version__} {name},{hits},{of}")
