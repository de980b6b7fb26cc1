"""pycocotools' average precision of boxes, and cleanvision's checks of a folder."""

import time
from importlib.metadata import version

import numpy as np
from serve import serve


def precision(stored):
    """Boxes found per second of this core, and the mean precision at an overlap of a half."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    table = np.load(stored)
    images, classes = int(table["images"]), int(table["classes"])
    marked = COCO()
    marked.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": name} for name in range(classes)],
        "annotations": rows(table, "truth"),
    }
    marked.createIndex()
    found = COCO()
    found.dataset = {**marked.dataset, "annotations": rows(table, "found")}
    found.createIndex()
    judge = COCOeval(marked, found, "bbox")
    judge.params.iouThrs = np.array([0.5])
    judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
    judge.params.maxDets = [100]
    begin = time.process_time()
    judge.evaluate()
    judge.accumulate()
    spent = time.process_time() - begin
    each = judge.eval["precision"][0, :, :, 0, 0]  # recalls, classes
    return {"rate": len(table["found_label"]) / spent, "mean": float(each[each > -1].mean())}


def rows(table, side):
    boxes = table[f"{side}_box"]
    wide = boxes[:, 2:] - boxes[:, :2]
    scores = table[f"{side}_score"] if side == "found" else np.ones(len(boxes))
    columns = (table[f"{side}_image"], table[f"{side}_label"], boxes, wide, scores)
    return [
        {
            "id": place + 1, "image_id": int(image), "category_id": int(label), "iscrowd": 0,
            "bbox": [*box[:2].tolist(), *sides.tolist()], "area": float(sides.prod()),
            "score": float(score),
        }
        for place, (image, label, box, sides, score) in enumerate(zip(*columns, strict=True))
    ]  # fmt: skip


def checks(folder):
    """Pictures per second of this core, through all checks it has by itself."""
    from cleanvision import Imagelab

    begin = time.process_time()
    lab = Imagelab(data_path=folder)
    lab.find_issues(n_jobs=1, verbose=False)
    return {"rate": len(lab.issues) / (time.process_time() - begin)}


if __name__ == "__main__":
    names = ("pycocotools", "cleanvision")
    serve(
        " ".join(f"{name} {version(name)}" for name in names),
        {"precision": precision, "checks": checks},
    )
