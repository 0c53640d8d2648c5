"""Opening a review: created from a sample, extended by a larger one, or gone on with as it is.

What is fixed when a review is created cannot be asked for differently later: it is refused, since a
command that ran without it would seem to have done it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cxrlabel.audit.review.creation import (
    CreatedReview,
    create_review,
    extend_review,
    finding_keys,
)
from cxrlabel.audit.review.inputs import Sources, read_sample_ids
from cxrlabel.audit.review.models import Assignment, Review, Reviewer, Study
from cxrlabel.audit.review.store import has_review, open_store, place_of, the_review
from cxrlabel.errors import InputError

_OPTIONS: Final = ("reference", "double", "seed", "unblind", "title")  # columns of the review too


class Fixed(TypedDict, total=False):
    """What is fixed when a review is created, as in `create_review`; only what is asked for."""

    reference: str
    label_set: str
    findings: Sequence[str]
    reviewers: Sequence[str]
    adjudicators: Sequence[str]
    double: float
    seed: int
    unblind: bool
    title: str


@dataclass(frozen=True, slots=True)
class OpenedReview:
    """A review that can be served."""

    added: CreatedReview | None  # None where it went on as it was
    reference: str
    readings: int  # that its reviewers are to make
    committed: int


def open_review(
    db: str | Path, sources: Sources | None = None, *, fixed: Fixed, extend: bool = False
) -> OpenedReview:
    """Create the review of a sample where there is none, else go on with it.

    Args:
        db: a file or a URL.
        sources: needed to create and to extend; a review that goes on reads the sample's ids alone.
        fixed: what is asked for; of the review that is there it has to be true.
        extend: add the studies of the sample that the review does not have.

    Raises:
        InputError: an input is wrong, the sample has studies that the review lacks, or the review
            was created with something else.
    """
    if extend and sources is None:
        raise InputError("--extend: no SAMPLE given; expected the larger one")
    added = None
    if has_review(db):
        _check(db, None if extend else sources, fixed, sources.rules if sources else ())
        if extend and sources is not None:
            added = extend_review(db, sources, reviewers=fixed.get("reviewers", ()))
    elif sources is None or extend:
        raise InputError(f"{place_of(db)}: holds no review; name the SAMPLE to create it from")
    else:
        added = create_review(db, sources, **fixed)
    store = open_store(db)
    try:
        with store.read() as session:
            count = select(func.count(), func.count(Assignment.committed_at))
            readings, committed = session.execute(count).one()
            return OpenedReview(added, the_review(session).reference, readings, committed)
    finally:
        store.close()


def _check(
    db: str | Path, sources: Sources | None, fixed: Fixed, rules: Sequence[Path | str]
) -> None:
    """Refuse what the review was not created with, and studies that it does not have."""
    store = open_store(db)
    try:
        with store.read() as session:
            review = the_review(session)
            for option in _OPTIONS:
                asked, has = fixed.get(option), getattr(review, option)
                if asked is not None and asked != has:
                    raise InputError(
                        f"--{option}: {asked!r}; the review in {store.place} was created with "
                        f"{has!r}, which stays"
                    )
            _check_findings(review, fixed, rules, store.place)
            _check_people(session, fixed, store.place)
            if sources is not None:
                _check_sample(session, review, sources, store.place)
    finally:
        store.close()


def _check_findings(review: Review, fixed: Fixed, rules: Sequence[Path | str], place: str) -> None:
    if "findings" not in fixed and "label_set" not in fixed:
        return
    keys = finding_keys(fixed.get("label_set", ""), fixed.get("findings", ()), rules)
    if [list(item) for item in keys.items()] != review.findings:
        raise InputError(
            f"--findings, --labelset: the review in {place} was created with others, which stay: "
            f"{', '.join(name for name, _ in review.findings)}"
        )


def _check_people(session: Session, fixed: Fixed, place: str) -> None:
    people = session.scalars(select(Reviewer)).all()
    readers = {person.name for person in people if person.reads}
    judges = {person.name for person in people if person.adjudicates}
    for option, asked, has in (
        ("--reviewer", fixed.get("reviewers", ()), readers),
        ("--adjudicator", fixed.get("adjudicators", ()), judges),
    ):
        for name in asked:
            if name not in has:
                raise InputError(
                    f"{option}: {name!r} is none of {place}; expected {', '.join(sorted(has))}"
                )


def _check_sample(session: Session, review: Review, sources: Sources, place: str) -> None:
    known = set(session.scalars(select(Study.study_id)))
    _, ids = read_sample_ids(sources.sample, sources.id_column or review.id_column)
    new = sum(study_id not in known for study_id in ids)
    if new:
        raise InputError(
            f"{sources.sample}: {new:,} studies that the review in {place} does not have; "
            "--extend adds them"
        )
