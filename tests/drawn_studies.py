"""A small data set for training tests: bright squares that say what the labels say."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cxrvision.data.manifest import write_manifest

FINDINGS = ("Edema", "Nodule")
BACKBONE = "test_resnet"  # a residual network of timm with few weights, made for tests


def draw_studies(
    folder: Path, *, studies: int = 48, size: int = 32, seed: int = 1, lateral: float = 0.6
) -> tuple[Path, Path]:
    """Write images, `studies.csv`, `labels.csv`; Edema is a frontal square, Nodule a lateral one.

    Returns:
        The manifest and the labels.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, labels = [], []
    for number in range(studies):
        study = f"s{number:03}"
        edema, nodule = rng.random(2) < 0.5
        views = ["frontal", "lateral"] if rng.random() < lateral else ["frontal"]
        for view in views:
            pixels = rng.integers(0, 60, (size, size), dtype=np.uint8)
            if edema if view == "frontal" else nodule:
                pixels[size // 4 :, size // 4 :] += 150
            path = f"images/{study}_{view}.png"
            Image.fromarray(pixels).save(folder / path)
            images.append(
                {
                    "image_id": f"{study}_{view}",
                    "study_id": study,
                    "patient_id": f"p{number // 2:03}",
                    "path": path,
                    "view": view,
                    "view_position": "LATERAL" if view == "lateral" else ("PA", "AP")[number % 2],
                    "split": ("train", "train", "train", "val", "test")[number // 2 % 5],
                    "age": float(30 + number % 40),
                    "sex": "FM"[number % 2],
                }
            )
        labels.append((study, float(edema), float(nodule)))
    write_manifest(folder / "studies.csv", pd.DataFrame(images), root=folder)
    table = pd.DataFrame(labels, columns=["study_id", *FINDINGS])
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "studies.csv", folder / "labels.csv"
