"""The model card of a labeler: what it is for, what it was fitted on, and how good it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABOUT: Mapping[str, str] = {
    "bow": "Words of the report alone (n-grams, topics, embeddings) by elastic-net logistic "
    "regression, after Zech et al. 2018.",
    "hybrid": "The rules of cxr, corrected by logistic regression on their mentions and on words.",
    "transformer": "An encoder with a four-way head for each finding, as in CheXbert "
    "(Smit et al. 2020).",
}


def model_card(facts: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    kind = facts["kind"]
    yield f"# Labeler of chest X-ray reports: {kind}"
    yield ""
    yield _ABOUT[kind]
    yield ""
    yield f"Made by cxr {facts['version']}."
    yield "Label with `cxr label REPORTS --backend FOLDER -o FILE`."
    yield ""
    if "silver" in facts:
        yield from _silver(facts["silver"])
    if "reviewed" in facts:
        yield from _learned(facts)
    if facts.get("scores"):
        yield from _scores(facts)
    yield "## Limits"
    yield ""
    yield (
        "It has learned the conventions of those who reviewed these reports. Elsewhere they may "
        "be others: audit the labels there. The folder holds words and phrases of the reports "
        "that it was fitted on, each of which several reports have: treat it as you treat them."
    )


def _learned(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "## What it was fitted on"
    yield ""
    reference = facts.get("reference") or "not stated"
    yield f"{facts['reports']:,} reports; what was looked at: {reference}."
    yield ""
    yield "| finding | positive | uncertain | negative | blank | learned classes |"
    yield "|---|---|---|---|---|---|"
    learned = facts["findings"]
    for name, counts in facts["reviewed"].items():
        classes = ", ".join(learned[name]["classes"]) if name in learned else "none: by the rules"
        cells = " | ".join(f"{count:g}" for count in counts.values())
        yield f"| {name} | {cells} | {classes} |"
    yield ""


def _silver(silver: Mapping[str, Any]) -> Iterator[str]:
    yield "## What the rules taught it"
    yield ""
    yield (
        f"{silver['reports']:,} reports labeled by the rules, and new ones made of their "
        f"sentences. Of {silver['unseen']:,} reports that it had not seen it gives "
        f"{silver['agreement']:.2%} of the labels the state that the rules give."
    )
    yield ""


def _scores(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "## How good it was on reports that it had not seen"
    yield ""
    how = (
        f"Cross-validation in {facts['folds']} folds" if "folds" in facts else "Reports kept apart"
    )
    yield (
        f"{how}; reports of one patient or of equal words are on one side. F1 of positive labels "
        "with 95 % intervals; uncertain counts as not positive."
    )
    yield ""
    yield "| labeler | finding | positive | precision | recall | F1 | Brier |"
    yield "|---|---|---|---|---|---|---|"
    for row in facts["scores"]:
        numbers = " | ".join(_number(row[name]) for name in ("precision", "recall"))
        f1 = f"{_number(row['f1'])} [{_number(row['f1_lo'])}, {_number(row['f1_hi'])}]"
        yield (
            f"| {row['labeler']} | {row['finding']} | {row['positives']} | {numbers} | {f1} | "
            f"{_number(row['brier'])} |"
        )
    yield ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
