"""One cell of a sweep: draw labels, audit them, learn by every method, evaluate on the truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cxrvision.evaluate.auc import auc
from cxrvision.evaluate.calibration import measure_calibration
from cxrvision.noise.simulation import draw_labels
from cxrvision.noise.sweep.auditing import simulate_audit
from cxrvision.noise.sweep.head import fit_head, predict_head
from cxrvision.noise.sweep.methods import CPU, Labeled, learn
from cxrvision.noise.sweep.rows import MEAN, METRICS, Row
from cxrvision.noise.sweep.settings import AUDITED, CLEAN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from cxrvision.noise.sweep.material import Material
    from cxrvision.noise.sweep.methods import Learning
    from cxrvision.noise.sweep.network import Images
    from cxrvision.noise.sweep.settings import Cell, SweepSettings

    Floats = NDArray[np.float64]


def run_cell(
    cell: Cell, settings: SweepSettings, material: Material, images: Images | None
) -> list[Row]:
    """All rows of a cell.

    Args:
        images: of a sweep that trains whole networks; None: the last layer alone.
    """
    seed = settings.seed * 1_000_003 + cell.repeat
    device = CPU if images is None else images.device
    rows: list[Row] = []
    for method, audit, learning in _learnings(cell, settings, material, seed, device):
        if images is None:
            fitted = fit_head(material.features, learning, penalty=settings.penalty)
            probs = predict_head(material.test_features, *fitted)
        else:
            from cxrvision.noise.sweep.network import fit_network

            probs = fit_network(images, material, learning, seed=seed)
        rows += _rows(cell, method, audit, learning, probs, material)
    return rows


def _learnings(
    cell: Cell, settings: SweepSettings, material: Material, seed: int, device: torch.device
) -> Iterator[tuple[str, int, Learning]]:
    """Method, size of the audit, and what is learned from."""
    truth = material.truth
    values = truth.to_numpy(np.float64)
    if cell.level is None:
        yield CLEAN, 0, learn(CLEAN, Labeled(material.findings, values, values))
        return
    table = settings.table(*cell.level)
    labels = draw_labels(
        truth,
        dict.fromkeys(material.findings, table),
        seed=seed,
        scores=material.scores,
        dependence=settings.dependence,
    )
    labeled = Labeled(
        material.findings,
        labels.to_numpy(np.float64),
        values,
        uncertain=settings.uncertain,
        blank=settings.blank,
    )
    plain = [name for name in settings.methods if name not in (*AUDITED, CLEAN)]
    for method in plain:
        yield method, 0, learn(method, labeled, device=device)
    audited = [name for name in settings.methods if name in AUDITED]
    for n in sorted(settings.audits) if audited else ():
        audit = simulate_audit(labels, truth, material.patients, n=n, seed=seed)
        for method in audited:
            yield method, n, learn(method, labeled, audit, device=device)


def _rows(
    cell: Cell, method: str, audit: int, learning: Learning, probs: Floats, material: Material
) -> list[Row]:
    sensitivity, specificity = cell.level or (math.nan, math.nan)
    measured = np.array(
        [_measure(probs[:, f], material.test_truth[:, f] == 1) for f in range(probs.shape[1])]
    )
    with_slope = measured[:, 2][~np.isnan(measured[:, 2])]
    means = measured.mean(axis=0)
    means[2] = with_slope.mean() if len(with_slope) else math.nan
    names = [*material.findings, MEAN]
    refused = [*learning.refused.astype(int).tolist(), int(learning.refused.sum())]
    return [
        Row(
            sensitivity=sensitivity,
            specificity=specificity,
            audit=audit,
            repeat=cell.repeat,
            method=method,
            finding=name,
            **dict(zip(METRICS, map(float, values), strict=True)),
            refused=count,
        )
        for name, values, count in zip(names, [*measured, means], refused, strict=True)
    ]


def _measure(probs: Floats, positive: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The values of `METRICS`."""
    calibration = measure_calibration(probs, positive)
    return (
        auc(probs, positive),
        calibration.brier.value,
        calibration.slope.value,
        float(probs.mean() - positive.mean()),
    )
