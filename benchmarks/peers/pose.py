"""albumentations' views with key points, the original's own, and DeepLabCut 3's PyTorch engine.

The engine's own model, targets, losses, views and inference runner; the loop around a step is its
training runner's, without evaluation and snapshots.
"""

import time
from importlib.metadata import version

import albumentations as a
import cv2
import numpy as np
import torch
from serve import serve

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDE, SIGMA, REACH = 4, 2.0, 3
ready = {}


# views with heat maps


def heat_maps(points, side, sigma=SIGMA):
    """Joint after joint, a patch of a Gaussian laid into its map, as the originals draw them."""
    grid, reach = side // STRIDE, int(REACH * sigma)
    maps = np.zeros((len(points), grid, grid), np.float32)
    x = np.arange(2 * reach + 1, dtype=np.float32)
    patch = np.exp(-((x - reach) ** 2 + (x[:, None] - reach) ** 2) / (2 * sigma**2))
    for joint, (across, down) in enumerate(points):
        left = int(across / STRIDE + 0.5) - reach
        top = int(down / STRIDE + 0.5) - reach
        right, bottom = left + 2 * reach + 1, top + 2 * reach + 1
        if left >= grid or top >= grid or right < 0 or bottom < 0:
            continue
        inside = (slice(max(0, top), min(bottom, grid)), slice(max(0, left), min(right, grid)))
        cut = (slice(max(0, -top), min(bottom, grid) - top),
               slice(max(0, -left), min(right, grid) - left))  # fmt: skip
        maps[(joint, *inside)] = patch[cut]
    return torch.from_numpy(maps)


def of_albumentations(pictures, points, side):
    from albumentations.pytorch import ToTensorV2

    cv2.setNumThreads(0)
    view = a.Compose(
        [
            a.LongestMaxSize(side),
            a.PadIfNeeded(side, side, border_mode=0),
            a.HorizontalFlip(p=0.5),
            a.Affine(scale=(0.75, 1.25), rotate=(-60, 60), p=0.6),
            a.Normalize(MEAN, STD),
            ToTensorV2(),
        ],
        keypoint_params=a.KeypointParams("xy", remove_invisible=False),
    )

    def batch(rows):
        made = [view(image=pictures[row], keypoints=points[row]) for row in rows]
        heat = [heat_maps(one["keypoints"], side) for one in made]
        return torch.stack([one["image"] for one in made]), torch.stack(heat)

    return batch


def of_original(pictures, points, side):
    """One picture after the other: an affine warp, its points through it, values scaled."""
    from torchvision import transforms as t

    cv2.setNumThreads(0)
    scaled = t.Compose([t.ToTensor(), t.Normalize(MEAN, STD)])
    draw = np.random.default_rng()

    def one(picture, marked):
        height, width = picture.shape[:2]
        if draw.random() < 0.5:
            picture = picture[:, ::-1]
            marked = np.stack([width - 1 - marked[:, 0], marked[:, 1]], 1)
        degrees = np.clip(draw.normal(), -2, 2) * 30 if draw.random() < 0.6 else 0.0
        scale = side / max(height, width) * np.clip(1 + 0.25 * draw.normal(), 0.75, 1.25)
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
        turn[:, 2] += (side - 1) / 2 - np.array([width - 1, height - 1]) / 2
        warped = cv2.warpAffine(picture, turn, (side, side), flags=cv2.INTER_LINEAR)
        return scaled(warped), heat_maps(marked @ turn[:, :2].T + turn[:, 2], side)

    def batch(rows):
        made = [one(pictures[row], points[row]) for row in rows]
        return tuple(torch.stack(side) for side in zip(*made, strict=True))

    return batch


def views(peer, stored, side, batch):
    torch.set_num_threads(1)
    held = np.load(stored)
    maker = {"albumentations": of_albumentations, "original": of_original}[peer]
    ready.update(make=maker(held["pictures"], held["points"], side), batch=batch)
    ready["count"] = len(held["pictures"])
    images, heat = ready["make"](list(range(batch)))
    assert images.shape == (batch, 3, side, side), images.shape
    return {"height": float(heat.amax((2, 3)).mean())}


def view_rate(seconds):
    """Views with their heat maps per second."""
    draw = np.random.default_rng()
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        rows = draw.integers(0, ready["count"], ready["batch"]).tolist()
        done += len(ready["make"](rows)[0])
    return {"rate": done / (time.perf_counter() - begin)}


# DeepLabCut


def settings(points, stride):
    """Its base configuration of a single animal, with a smaller ResNet."""
    head = {
        "type": "HeatmapHead",
        "weight_init": "normal",
        "predictor": {"type": "HeatmapPredictor", "apply_sigmoid": False, "clip_scores": True,
                      "location_refinement": True, "locref_std": 7.2801},
        "target_generator": {"type": "HeatmapGaussianGenerator", "num_heatmaps": points,
                             "pos_dist_thresh": 17, "heatmap_mode": "KEYPOINT",
                             "gradient_masking": False, "generate_locref": True,
                             "locref_std": 7.2801},
        "criterion": {"heatmap": {"type": "WeightedMSECriterion", "weight": 1.0},
                      "locref": {"type": "WeightedHuberCriterion", "weight": 0.05}},
        "heatmap_config": {"channels": [512, points], "kernel_size": [3], "strides": [2]},
        "locref_config": {"channels": [512, 2 * points], "kernel_size": [3], "strides": [2]},
    }  # fmt: skip
    return {
        "backbone": {"type": "ResNet", "model_name": "resnet18", "output_stride": stride,
                     "freeze_bn_stats": False, "freeze_bn_weights": False},
        "backbone_output_channels": 512,
        "heads": {"bodypart": head},
    }  # fmt: skip


class Marked(torch.utils.data.Dataset):
    """Pictures through DeepLabCut's own views, with the points that go along."""

    def __init__(self, pictures, points):
        from deeplabcut.pose_estimation_pytorch.data.transforms import build_transforms

        self.pictures, self.points = pictures, points
        self.view = build_transforms(
            {
                "affine": {"p": 0.5, "rotation": 30, "scaling": [0.5, 1.25], "translation": 0},
                "gaussian_noise": 12.75,
                "motion_blur": True,
                "normalize_images": True,
            }
        )

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, row):
        marked = self.points[row]
        made = self.view(image=self.pictures[row], keypoints=marked, bboxes=[], bbox_labels=[],
                         class_labels=[f"p{k}" for k in range(len(marked))])  # fmt: skip
        found = np.full((1, len(marked), 3), 2.0, np.float32)
        found[0, :, :2] = made["keypoints"]
        return made["image"].transpose(2, 0, 1).copy(), found


def training(stored, batch, stride, threads):
    from deeplabcut.pose_estimation_pytorch.models.model import PoseModel

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    held = np.load(stored)
    model = PoseModel.build(settings(held["points"].shape[1], stride)).train()
    pictures = Marked(held["pictures"], held["points"])
    loader = torch.utils.data.DataLoader(pictures, batch, shuffle=True, drop_last=True)
    ready.update(model=model, loader=loader, batch=batch)
    ready["optimiser"] = torch.optim.AdamW(model.parameters(), lr=5e-4)
    return {"weights": sum(one.numel() for one in model.parameters())}


def train(steps, warm):
    """Pictures a second of `steps` steps after `warm` others."""
    model, optimiser = ready["model"], ready["optimiser"]

    def batches():
        while True:
            yield from ready["loader"]

    begin = 0.0
    for step, (images, points) in enumerate(batches()):
        if step == warm:
            begin = time.perf_counter()
        if step == warm + steps:
            break
        optimiser.zero_grad()
        outputs = model(images.float())
        target = model.get_target(outputs, {"keypoints": points})
        losses = model.get_loss(outputs, target)
        losses["total_loss"].backward()
        optimiser.step()
        {name: one.detach().cpu().numpy() for name, one in losses.items()}
    return {"rate": steps * ready["batch"] / (time.perf_counter() - begin)}


def follow(video, batch):
    """Frames of a video a second, by its inference runner with the model that was trained."""
    from deeplabcut.pose_estimation_pytorch.apis.videos import video_inference
    from deeplabcut.pose_estimation_pytorch.data.postprocessor import (
        build_bottom_up_postprocessor,
    )
    from deeplabcut.pose_estimation_pytorch.data.preprocessor import build_bottom_up_preprocessor
    from deeplabcut.pose_estimation_pytorch.data.transforms import build_transforms
    from deeplabcut.pose_estimation_pytorch.runners.inference import PoseInferenceRunner

    points = ready["loader"].dataset.points.shape[1]
    runner = PoseInferenceRunner(
        ready["model"],
        batch_size=batch,
        preprocessor=build_bottom_up_preprocessor("RGB", build_transforms(
            {"normalize_images": True})),
        postprocessor=build_bottom_up_postprocessor(1, points, 0),
    )  # fmt: skip
    begin = time.perf_counter()
    found = video_inference(video, runner)
    seconds = time.perf_counter() - begin
    ready["model"].train()
    return {"rate": len(found) / seconds}


if __name__ == "__main__":
    names = ("albumentations", "deeplabcut")
    serve(
        " ".join(version(name) for name in names),
        {"views": views, "view_rate": view_rate, "training": training, "train": train,
         "follow": follow},
    )  # fmt: skip
