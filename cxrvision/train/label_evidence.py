"""What is known of the labels of a run besides their states: features whose error was reviewed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrvision.evaluate.estimates import logit
from cxrvision.noise.dependence import Dependence, fit_dependence
from cxrvision.noise.label_features import by_state, read_label_features
from cxrvision.noise.tables import state_codes

if TYPE_CHECKING:
    from cxrvision.noise.tables import ErrorTables, Floats
    from cxrvision.train.config import TrainConfig
    from cxrvision.train.review import Review
    from cxrvision.train.studies import Studies

LEARNED_FROM: Final = ("train", "val")  # splits whose reviewed studies are learned from


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the features of the labels add to their states."""

    by_split: Mapping[str, Floats]  # [N, F] log odds
    record: Mapping[str, Any]  # of the findings for which they are used
    note: str


def find_evidence(
    config: TrainConfig,
    tables: ErrorTables,
    studies: Mapping[str, Studies],
    reviews: Mapping[str, Review],
) -> Evidence:
    """Learn from the reviewed studies which labels are more reliable than others.

    Args:
        studies, reviews: by split.

    Raises:
        InputError: the mentions cannot be read, or are of other studies.
    """
    ids = [study for own in studies.values() for study in own.ids]
    found = read_label_features(config.noise_mentions, ids, tables.findings)
    codes = np.concatenate([state_codes(own.states) for own in studies.values()])
    sites = np.concatenate([own.sites for own in studies.values()])
    features = by_state(found, codes, sites)
    learned = np.concatenate([np.full(len(own), s in LEARNED_FROM) for s, own in studies.items()])
    patients = np.unique(
        np.concatenate([own.patients for own in studies.values()]).astype(str), return_inverse=True
    )[1]
    truth = np.concatenate([reviews[split].truth for split in studies])
    weights = np.concatenate([reviews[split].weights for split in studies])
    evidence = np.zeros(codes.shape)
    fitted: dict[str, Dependence] = {}
    for column, name in enumerate(tables.findings):
        if name in tables.without:
            continue
        rows = learned & ~np.isnan(truth[:, column])
        if not rows.any():
            continue
        odds = logit(tables.truth_given_state[column])
        one = fit_dependence(
            truth[rows, column] == 1,
            odds[codes[rows, column]],
            features[rows, column],
            weights=weights[rows, column],
            patients=patients[rows],
        )
        if one.used:
            fitted[name] = one
            evidence[:, column] = one.evidence(features[:, column])
    bounds = np.cumsum([0, *(len(own) for own in studies.values())])
    return Evidence(
        {
            split: evidence[begin:end]
            for split, begin, end in zip(studies, bounds[:-1], bounds[1:], strict=True)
        },
        {
            name: {
                "ridge": one.ridge,
                "gain": round(one.gain, 5),
                "gain_error": round(one.gain_error, 5),
            }
            for name, one in fitted.items()
        },
        _note(fitted),
    )


def _note(fitted: Mapping[str, Dependence]) -> str:
    if not fitted:
        return "features of the labels (mentions, site) tell no more than the table, and are unused"
    return f"features of the labels (mentions, site) are used for {', '.join(fitted)}"
