"""Opening what `--backend` names: "rules", model folders, or several of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.learned.backend import RULES, Backend, check_combination
from cxrlabel.learned.kinds import load_model, require_packages
from cxrlabel.learned.storage import hash_folder, read_facts
from cxrlabel.rulefiles import read_rule_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrlabel.chunks import LabelingOptions
    from cxrlabel.labeler import Labeler


def open_backend(labeling: LabelingOptions, labeler: Labeler) -> Backend:
    """The backend of some options.

    Args:
        labeling: its `backend` names at least one model.
        labeler: made with the same options.

    Raises:
        InputError: a model is missing, damaged or of another language.
    """
    models, tables = [], []
    for name in labeling.backend:
        if name != RULES:
            facts = read_checked_facts(name, labeling)
            models.append(load_model(Path(name), facts, labeler))
            tables.append(facts.get("table"))
    table = next((table for table in tables if table), np.eye(len(STATES)).tolist())
    return Backend(
        labeler,
        tuple(models),
        RULES in labeling.backend,
        labeling.combine,
        np.array(table, dtype=np.float64),
    )


def check_backend(labeling: LabelingOptions) -> None:
    """Refuse what `open_backend` would, without loading a model."""
    check_combination(labeling.combine)
    twice = [name for name in labeling.backend if labeling.backend.count(name) > 1]
    if twice:
        raise InputError(f"--backend: {twice[0]!r} is named twice; expected different labelers")
    for name in labeling.backend:
        if name != RULES:
            read_checked_facts(name, labeling)


def describe_backend(labeling: LabelingOptions, findings: Sequence[str]) -> dict[str, Any]:
    """What a run record says of the backend.

    Args:
        findings: those that are labeled.
    """
    labelers: list[dict[str, Any]] = []
    notes, learned = [], set[str]()
    rules_hash = read_rule_files(labeling.rules, lang=labeling.lang).hash
    for name in labeling.backend:
        if name == RULES:
            labelers.append({"kind": RULES})
            continue
        facts = read_checked_facts(name, labeling)
        learned |= set(facts["findings"])
        labelers.append({"path": name, "kind": facts["kind"], "sha256": hash_folder(Path(name))})
        if facts.get("rules_hash") not in (None, rules_hash):
            notes.append(f"{name}: fitted with other rules than those that label now; fit it again")
        notes += _other_options(name, facts, labeling)
    by_rules = [name for name in findings if name not in learned]
    if by_rules:
        notes.append(f"labeled by the rules, not learned: {', '.join(by_rules)}")
    return {
        "labelers": labelers,
        "combine": labeling.combine,
        "by_rules": by_rules,
        "notes": notes,
    }


def _other_options(name: str, facts: Mapping[str, Any], labeling: LabelingOptions) -> list[str]:
    """A note for each option of the rules that was another one when the model was fitted."""
    fitted = facts.get("labeling", {})
    now = json.loads(json.dumps(asdict(labeling)))
    return [
        f"{name}: fitted with other {option} than those that label now"
        for option in ("sections", "options", "aggregate")
        if fitted and fitted.get(option) != now[option]
    ]


def read_checked_facts(name: str, labeling: LabelingOptions) -> dict[str, Any]:
    """The facts of a model that can read what is to be labeled.

    Raises:
        InputError: there is none, it was fitted on reports of another language, or a package that
            it needs is not installed.
    """
    facts = read_facts(Path(name))
    require_packages(str(facts.get("kind")))
    lang = facts.get("labeling", {}).get("lang", labeling.lang)
    if lang != labeling.lang:
        raise InputError(f"{name}: fitted on reports with --lang {lang}; found {labeling.lang}")
    return facts
