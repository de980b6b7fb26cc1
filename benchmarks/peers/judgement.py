"""What fastdup, imagededup, cleanlab and cleanvision say of a folder of pictures.

Every answer names pictures by their place in the sorted list of the folder's files.
"""

import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("SENTRY_OPT_OUT", "1")

import numpy as np
from serve import serve

PICTURES = (".jpg", ".png")


def files(folder):
    return sorted(path for path in Path(folder).iterdir() if path.suffix in PICTURES)


def fastdup_run(folder):
    import fastdup

    work = tempfile.mkdtemp()
    places = {path.name: place for place, path in enumerate(files(folder))}
    found = fastdup.create(work_dir=work, input_dir=folder)
    found.run(overwrite=True, print_summary=False, threshold=0.5, nearest_neighbors_k=5)
    return found, places, work


def fastdup_pairs(folder):
    found, places, work = fastdup_run(folder)
    table = found.similarity()
    names = ("filename_from", "filename_to")
    pairs = [
        (places[Path(one).name], places[Path(two).name], float(close))
        for one, two, close in zip(*(table[name] for name in names), table["distance"], strict=True)
    ]
    shutil.rmtree(work, ignore_errors=True)
    return {"pairs": pairs}


def fastdup_strangers(folder):
    """The farther from its nearest neighbour, the stranger."""
    found, places, work = fastdup_run(folder)
    table = found.similarity()
    closest = [0.0] * len(places)
    columns = (table[name] for name in ("filename_from", "filename_to", "distance"))
    for one, two, close in zip(*columns, strict=True):
        for name in (one, two):
            place = places[Path(name).name]
            closest[place] = max(closest[place], float(close))
    shutil.rmtree(work, ignore_errors=True)
    return {"scores": [-close for close in closest]}


def imagededup_pairs(folder, method):
    from imagededup import methods

    hasher = getattr(methods, method)()
    codes = hasher.encode_images(image_dir=folder)
    near = hasher.find_duplicates(encoding_map=codes, max_distance_threshold=24, scores=True)
    places = {path.name: place for place, path in enumerate(files(folder))}
    pairs = {
        (min(places[one], places[two]), max(places[one], places[two])): -float(bits)
        for one, others in near.items()
        for two, bits in others
    }
    return {"pairs": [(one, two, close) for (one, two), close in pairs.items()]}


def cleanlab_labels(vectors, labels):
    """Out-of-fold probabilities of a logistic probe on the vectors, then confident learning."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, labels = np.load(vectors), np.asarray(labels)
    # a class smaller than the number of folds only gets a warning
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, C=0.1))
    chances = cross_val_predict(probe, values, labels, cv=folds, method="predict_proba")
    flagged = find_label_issues(labels, chances)
    return {
        "scores": (-get_label_quality_scores(labels, chances)).tolist(),
        "flagged": np.flatnonzero(flagged).tolist(),
    }


def cleanvision_issues(folder):
    from cleanvision import Imagelab

    lab = Imagelab(data_path=folder)
    lab.find_issues(verbose=False)
    table = lab.issues
    places = {path.name: place for place, path in enumerate(files(folder))}
    rows = [places[Path(name).name] for name in table.index]
    issues = {}
    for kind in ("dark", "light", "blurry", "low_information", "odd_size", "odd_aspect_ratio"):
        scores = np.zeros(len(rows))
        scores[rows] = -table[f"{kind}_score"].to_numpy(float)
        flagged = sorted(
            row for row, bad in zip(rows, table[f"is_{kind}_issue"], strict=True) if bad
        )
        issues[kind] = {"scores": scores.tolist(), "flagged": flagged}
    return {"issues": issues}


if __name__ == "__main__":
    names = ("fastdup", "imagededup", "cleanlab", "cleanvision")
    serve(
        " ".join(f"{name} {version(name)}" for name in names),
        {
            "fastdup_pairs": fastdup_pairs,
            "fastdup_strangers": fastdup_strangers,
            "imagededup_pairs": imagededup_pairs,
            "cleanlab_labels": cleanlab_labels,
            "cleanvision_issues": cleanvision_issues,
        },
    )
