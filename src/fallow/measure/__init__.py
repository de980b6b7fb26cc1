"""Measures: features and labels in as arrays, plain numbers out."""

from __future__ import annotations

from fallow.measure.cluster import ari, clustering_accuracy, nmi
from fallow.measure.dense import (
    aupro,
    aupro_in_steps,
    auroc,
    average_precision,
    f1_max,
    image_measures,
    measures,
)
from fallow.measure.discovery import discovery_accuracy, discovery_accuracy_v1
from fallow.measure.fidelity import psnr, ssim
from fallow.measure.knn import Accuracy, accuracy, knn_accuracy, knn_scores
from fallow.measure.probe import (
    FewShot,
    Protocol,
    few_shot,
    linear_probe,
    logistic_probe,
    ridge_probe,
)
from fallow.measure.retrieval import mean_average_precision, recall_at_k
from fallow.train.collapse import alignment, effective_rank, spread, uniformity

__all__ = [
    "Accuracy",
    "FewShot",
    "Protocol",
    "accuracy",
    "alignment",
    "ari",
    "aupro",
    "aupro_in_steps",
    "auroc",
    "average_precision",
    "clustering_accuracy",
    "discovery_accuracy",
    "discovery_accuracy_v1",
    "effective_rank",
    "f1_max",
    "few_shot",
    "image_measures",
    "knn_accuracy",
    "knn_scores",
    "linear_probe",
    "logistic_probe",
    "mean_average_precision",
    "measures",
    "nmi",
    "psnr",
    "recall_at_k",
    "ridge_probe",
    "spread",
    "ssim",
    "uniformity",
]
