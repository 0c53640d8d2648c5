"""Fitting a transformer: silver labels of the rules first, then reviewed reports.

A fifth of the reports is kept apart, by text: to say how far it agrees with the rules on reports it
has not seen, and, of those that are reviewed, to calibrate it and to judge it beside the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from cxrlabel.chunks import read_row
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.learned.classes import told_apart
from cxrlabel.learned.crossval import reviewed_columns
from cxrlabel.learned.fitting import (
    FittedLabeler,
    calibration_slope,
    judge_beside_rules,
    reviewed_facts,
)
from cxrlabel.learned.material import rules_codes
from cxrlabel.learned.reviewed import hash_words
from cxrlabel.learned.transformer.encoders import SMALL, longest_window, open_encoder
from cxrlabel.learned.transformer.labeler import KIND, TransformerLabeler
from cxrlabel.learned.transformer.network import StateNetwork
from cxrlabel.learned.transformer.silver import recombine
from cxrlabel.learned.transformer.training import (
    Lesson,
    TrainingSettings,
    class_table,
    four_classes,
    one_hot,
    train,
)
from cxrlabel.readers import open_reports
from cxrlabel.rulefiles import read_rule_files
from cxrlabel.studies import LABELED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.chunks import LabelingOptions
    from cxrlabel.labeler import Labeler
    from cxrlabel.learned.classes import Classes
    from cxrlabel.learned.material import Material
    from cxrlabel.readers import ReportRow
    from cxrlabel.reading import Reading

    Floats = NDArray[np.float64]

_APART: Final = 5  # one text in so many is kept apart
_LEAST: Final = 50  # reports with a label, to begin with


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """What a transformer is made of, and how it is trained."""

    encoder: str = SMALL
    download: bool = False
    longest: int = 256  # tokens of a window
    recombined: int = 20_000  # new reports of an epoch, made of sentences
    silver: TrainingSettings = field(default_factory=TrainingSettings)
    reviewed: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=3, lr=1e-4))
    device: str = "auto"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SilverReports:
    """N reports that have a label, as the rules read them."""

    labeler: Labeler
    readings: list[Reading]
    texts: tuple[str, ...]  # hashes of their words
    rules: NDArray[np.uint8]  # [N, F]

    @property
    def apart(self) -> NDArray[np.bool_]:
        """[N] whether a report is kept apart; equal words are on one side."""
        return np.array([is_apart(text) for text in self.texts])

    def take(self, chosen: NDArray[np.bool_]) -> SilverReports:
        """Some of the reports."""
        places = np.flatnonzero(chosen)
        return SilverReports(
            self.labeler,
            [self.readings[i] for i in places],
            tuple(self.texts[i] for i in places),
            self.rules[places],
        )


def is_apart(text: str) -> bool:
    """Whether the report with this hash is kept apart."""
    return int(text[:8], 16) % _APART == 0


def fit_reports(
    reports: Sequence[str],
    material: Material | None,
    labeling: LabelingOptions,
    settings: TransformerSettings,
    *,
    id_column: str | None = None,
    text_columns: Sequence[str] = (),
    seed: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> FittedLabeler:
    """Read reports and fit a transformer; arguments as of `open_reports` and `fit_transformer`."""
    source = open_reports(reports, id_column=id_column, text_columns=text_columns)
    labeler = labeling.labeler() if material is None else material.labeler
    silver = read_silver(source.rows(), labeler, place=", ".join(reports))
    return fit_transformer(silver, material, labeling, settings, seed=seed, progress=progress)


def read_silver(rows: Iterable[ReportRow], labeler: Labeler, *, place: str) -> SilverReports:
    """Label reports by the rules.

    Raises:
        InputError: too few say anything.
    """
    pairs = [(read_row(labeler, row), hash_words(row.texts)) for row in rows]
    pairs = [(reading, text) for reading, text in pairs if reading.status == LABELED]
    if len(pairs) < _LEAST:
        raise InputError(f"{place}: {len(pairs)} reports with a label; expected {_LEAST} or more")
    readings = [reading for reading, _ in pairs]
    texts = tuple(text for _, text in pairs)
    return SilverReports(labeler, readings, texts, rules_codes(labeler, readings))


def fit_transformer(
    silver: SilverReports,
    material: Material | None,
    labeling: LabelingOptions,
    settings: TransformerSettings,
    *,
    seed: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> FittedLabeler:
    """Fit a transformer.

    Args:
        silver: all reports.
        material: the reviewed ones; None trains on the rules' labels alone.
        labeling: how the rules read the reports.
        seed: of all that is drawn.
        progress: called with what is done next.

    Raises:
        InputError: the encoder cannot be read, or the loss diverges.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    seen, unseen = silver.take(~silver.apart), silver.take(silver.apart)
    labeler = _new_labeler(seen, settings)
    _train_on_silver(labeler, seen, settings, rng, progress)
    agreement = _agreement(labeler, unseen)
    progress(f"same state as the rules in {agreement:.2%} of unseen reports' labels")
    facts: dict[str, Any] = {
        "kind": KIND,
        "version": version("cxr"),
        "rules_hash": read_rule_files(labeling.rules, lang=labeling.lang).hash,
        "labeling": asdict(labeling),
        "settings": asdict(settings),
        "seed": seed,
        "silver": {"reports": len(seen.readings), "unseen": len(unseen.readings),
                   "agreement": agreement},
        "by_rules": {},
        "texts": sorted(set(seen.texts)),
    }  # fmt: skip
    judged = None
    if material is not None:
        held = _held_out(material)
        learned, judging = material.take(~held), material.take(held)
        _train_on_reviews(labeler, learned, settings, rng, progress)
        probs = _probs(labeler, judging)
        labeler = labeler.calibrated(calibration_slope(judging, probs))
        judged = judge_beside_rules(judging, KIND, _probs(labeler, judging), seed=seed)
        facts |= reviewed_facts(material, judged)
        facts["texts"] = sorted({*seen.texts, *learned.reviewed.texts})
    return FittedLabeler(labeler, judged, facts)


def _new_labeler(seen: SilverReports, settings: TransformerSettings) -> TransformerLabeler:
    said = (one.text for reading in seen.readings for one, _, _ in reading.sentences if one.labels)
    encoder, tokenizer = open_encoder(settings.encoder, said, download=settings.download)
    network = StateNetwork(encoder, seen.labeler.findings)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    longest = longest_window(encoder, settings.longest)
    return TransformerLabeler(network, tokenizer, longest=longest, named=True)


def _train_on_silver(
    labeler: TransformerLabeler,
    seen: SilverReports,
    settings: TransformerSettings,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> None:
    """Each epoch has all reports, and as many new ones as asked for."""
    own = [labeler.windows(reading) for reading in seen.readings]
    classes = four_classes(len(labeler.findings))

    def lesson(epoch: int) -> Lesson:
        made = recombine(seen.labeler, seen.readings, settings.recombined, rng)
        windows = [*own, *(labeler.windows(reading) for reading in made)]
        codes = [seen.rules, *([rules_codes(seen.labeler, made)] if made else [])]
        return Lesson(windows, one_hot(np.concatenate(codes)), classes)

    progress(f"silver labels: {len(own):,} reports and {settings.recombined:,} made of sentences")
    train(labeler, lesson(0), settings.silver, rng=rng, renew=lesson, progress=progress)


def _train_on_reviews(
    labeler: TransformerLabeler,
    learned: Material,
    settings: TransformerSettings,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> None:
    """What reviewers did not read, or too seldom, keeps what the silver labels taught."""
    reviewed = learned.reviewed
    shares = np.zeros((len(learned.readings), len(labeler.findings), len(STATES)))
    classes: list[Classes | None] = [None] * len(labeler.findings)
    for column, name in enumerate(reviewed.findings):
        own = told_apart(reviewed.shares[:, column].sum(axis=0), reviewed.used)
        place = labeler.findings.index(name)
        classes[place] = own
        if own is not None:
            shares[:, place] = reviewed.shares[:, column]
    windows = [labeler.windows(reading) for reading in learned.readings]
    progress(f"reviewed reports: {len(windows):,}")
    lesson = Lesson(windows, shares, class_table(classes))
    train(labeler, lesson, settings.reviewed, rng=rng, progress=progress)


def _held_out(material: Material) -> NDArray[np.bool_]:
    """[N] whether a reviewed report is kept apart, with all of its patient and of its words."""
    groups = material.reviewed.groups
    own = np.array([is_apart(text) for text in material.reviewed.texts])
    held: NDArray[np.bool_] = np.isin(groups, groups[own])
    if held.all() or not held.any():
        raise InputError(
            f"{len(held)} reviewed reports: all or none of them are kept apart to judge by; "
            "expected more"
        )
    return held


def _probs(labeler: TransformerLabeler, material: Material) -> Floats:
    """[N, F, 4] for the reviewed findings."""
    columns = reviewed_columns(material)
    return labeler.probs(material.readings, material.rules)[:, columns]


def _agreement(labeler: TransformerLabeler, unseen: SilverReports) -> float:
    """Share of the labels that are those of the rules."""
    states = labeler.probs(unseen.readings, unseen.rules).argmax(axis=-1)
    return float((states == unseen.rules).mean())
