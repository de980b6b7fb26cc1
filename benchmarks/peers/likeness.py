"""fastdup's vectors and groups of a folder of pictures, for every file in the order of its name."""

import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("SENTRY_OPT_OUT", "1")

import fastdup
import numpy as np
from serve import serve


def look(folder, vectors):
    """Vectors are written to a file; a picture that is in no component is a group of its own."""
    names = sorted(os.listdir(folder))
    places = {name: place for place, name in enumerate(names)}
    work = tempfile.mkdtemp()
    found = fastdup.create(work_dir=work, input_dir=folder)
    found.run(overwrite=True, print_summary=False)
    files, features = fastdup.load_binary_feature(f"{work}/atrain_features.dat")
    table = np.zeros((len(names), features.shape[1]), np.float32)
    for name, row in zip(files, features, strict=True):
        table[places[Path(name).name]] = row
    np.save(vectors, table)
    groups = list(range(len(names)))
    components, _ = found.connected_components()
    if len(components):  # else its columns are missing
        joined = zip(components["filename"], components["component_id"], strict=True)
        for name, component in joined:
            groups[places[Path(name).name]] = -1 - int(component)
    shutil.rmtree(work, ignore_errors=True)
    return {"groups": groups}


if __name__ == "__main__":
    serve(fastdup.__version__, {"look": look})
