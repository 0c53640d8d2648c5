"""A new review: the sample's studies with what is shown of them, shared out to reviewers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sqlalchemy import func, inspect, select
from sqlalchemy.orm import Session

from cxrlabel.audit.review.assigning import assign
from cxrlabel.audit.review.inputs import Material, Sources, read_material
from cxrlabel.audit.review.models import (
    REFERENCES,
    REPORT,
    SCHEMA,
    Assignment,
    Base,
    Image,
    Review,
    Reviewer,
    Study,
)
from cxrlabel.audit.review.store import connect, open_store, the_review
from cxrlabel.audit.reviews import ADJUDICATED
from cxrlabel.checks import one_of
from cxrlabel.errors import InputError
from cxrlabel.findings import load_findings, load_label_set, require

OVERSEER: Final = "overview"  # the name of the link that shows the summary
_RESERVED: Final = (OVERSEER, ADJUDICATED)
_MAX_NAME: Final = 60  # characters of a reviewer's name


@dataclass(frozen=True, slots=True)
class CreatedReview:
    """What was put into a review."""

    studies: int
    double_read: int
    images: int
    reviewers: tuple[str, ...]


def create_review(
    db: str | Path,
    sources: Sources,
    *,
    reference: str = REPORT,
    label_set: str = "chexpert",
    findings: Sequence[str] = (),
    reviewers: Sequence[str] = ("reviewer",),
    adjudicators: Sequence[str] = (),
    double: float = 0.0,
    seed: int = 1,
    unblind: bool = False,
    title: str = "",
) -> CreatedReview:
    """Create a review in an empty database; it is there as a whole or not at all.

    Args:
        db: a new file, or the URL of an empty PostgreSQL database.
        sources: the sample and what is shown of its studies.
        reference: "report" or "image": what the reviewers read. A review of images shows reports
            only with the labels, after a study is committed.
        label_set: the findings to read, in its order.
        findings: these findings instead.
        reviewers: names; each gets a link of their own.
        adjudicators: names of those who decide where readings differ, who may be reviewers too;
            none makes all reviewers adjudicators.
        double: share of the studies that two reviewers read, 0 to 1.
        seed: of the shares and orders.
        unblind: show the labels from the start, for teaching.
        title: shown on every page.

    Raises:
        InputError: an input is wrong, or the database holds something already.
    """
    one_of("--reference", "value", reference, REFERENCES)
    keys = finding_keys(label_set, findings, sources.rules)
    check_names([*reviewers, *adjudicators])
    material = read_material(sources, keys=keys, reference=reference)
    _check_columns(material.id_column, keys)
    lists = assign(material.ids, reviewers, double=double, seed=seed)
    review = Review(
        schema=SCHEMA,
        title=title.strip() or "Chest X-ray review",
        reference=reference,
        id_column=material.id_column,
        findings=[list(item) for item in keys.items()],
        unblind=unblind,
        has_labels=sources.labels is not None or sources.mentions is not None,
        double=double,
        seed=seed,
        secret=secrets.token_hex(32),
        created_at=time.time(),
    )
    store = connect(db, create=True)
    try:
        with store.write() as session:
            if inspect(session.connection()).get_table_names():
                raise InputError(f"{store.place}: holds tables already; expected an empty database")
            Base.metadata.create_all(session.connection())
            session.add(review)
            people = _add_reviewers(session, reviewers, adjudicators or reviewers)
            studies = _add_studies(session, material)
            _add_assignments(session, lists, people, studies)
    finally:
        store.close()
    return _created(lists, material)


def extend_review(
    db: str | Path, sources: Sources, *, reviewers: Sequence[str] = ()
) -> CreatedReview:
    """Add the studies of a larger sample that a review does not have, behind those that it has.

    Args:
        db: a file or a URL.
        sources: as for `create_review`; studies that the review has are left as they are.
        reviewers: who reads them; none shares them out to all who read.

    Returns:
        What was added.

    Raises:
        InputError: an input is wrong, or a name is not a reviewer of this review.
    """
    store = open_store(db)
    try:
        with store.write() as session:
            review = the_review(session)
            everybody = {row.name: row for row in session.scalars(select(Reviewer)) if row.reads}
            for name in reviewers:
                if name not in everybody:
                    raise InputError(f"--reviewer: {name!r} is not a reviewer of {store.place}")
            known = set(session.scalars(select(Study.study_id)))
            given = replace(sources, id_column=sources.id_column or review.id_column)
            material = read_material(
                given, keys=dict(review.findings), reference=review.reference, leave=known
            )
            lists = assign(
                material.ids,
                list(reviewers or everybody),
                double=review.double,
                seed=review.seed + len(known),
            )
            review.has_labels |= sources.labels is not None or sources.mentions is not None
            studies = _add_studies(session, material)
            _add_assignments(session, lists, everybody, studies)
    finally:
        store.close()
    return _created(lists, material)


def _created(lists: Mapping[str, Sequence[str]], material: Material) -> CreatedReview:
    listed = sum(map(len, lists.values()))
    return CreatedReview(
        studies=len(material.ids),
        double_read=listed - len(material.ids),
        images=sum(map(len, material.images.values())),
        reviewers=tuple(lists),
    )


def finding_keys(
    label_set: str, findings: Sequence[str], rules: Sequence[Path | str]
) -> dict[str, str]:
    """Finding -> key, in the order of the page."""
    keys = {finding.name: finding.key for finding in load_findings(rules)}
    if findings:
        names = [require(name, place="--findings", rules=rules) for name in findings]
    else:
        names = list(load_label_set(label_set, rules=rules).columns)
    return {name: keys[name] for name in names}


def check_names(names: Iterable[str]) -> None:
    """Refuse what is no reviewer's name."""
    for name in names:
        if name != name.strip() or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            raise InputError(
                f"--reviewer: {name!r} is not a name; expected 1 to {_MAX_NAME} characters "
                "without spaces around them"
            )
        if name.casefold() in _RESERVED:
            raise InputError(f"--reviewer: the name {name!r} is taken; expected another one")


def _check_columns(id_column: str, keys: Mapping[str, str]) -> None:
    """Refuse an id column that the export could not hold beside the others."""
    if id_column in ("reviewer", "reference", *keys):
        raise InputError(
            f"--id: {id_column!r} is a column of the exported readings; rename the id column"
        )


def _add_reviewers(
    session: Session, reviewers: Sequence[str], adjudicators: Sequence[str]
) -> dict[str, Reviewer]:
    people = {
        name: Reviewer(
            name=name, reads=name in reviewers, adjudicates=name in adjudicators, oversees=False
        )
        for name in (*reviewers, *adjudicators)
    }
    session.add_all(people.values())
    session.add(Reviewer(name=OVERSEER, reads=False, adjudicates=False, oversees=True))
    session.flush()
    return people


def _add_studies(session: Session, material: Material) -> dict[str, Study]:
    studies = {}
    for study_id in material.ids:
        report = material.reports.get(study_id)
        studies[study_id] = Study(
            study_id=study_id,
            texts=[list(pair) for pair in report.texts] if report else [],
            blocks=[list(block) for block in report.blocks] if report else [],
            labels=material.labels.get(study_id, {}),
            mentions=[list(mark) for mark in material.highlights.get(study_id, ())],
            images=[
                Image(path=str(image.path), view=image.view)
                for image in material.images.get(study_id, ())
            ],
        )
    session.add_all(studies.values())
    session.flush()
    return studies


def _add_assignments(
    session: Session,
    lists: Mapping[str, Sequence[str]],
    people: Mapping[str, Reviewer],
    studies: Mapping[str, Study],
) -> None:
    for name, listed in lists.items():
        own = people[name].id
        last = session.scalar(
            select(func.max(Assignment.position)).where(Assignment.reviewer == own)
        )
        session.add_all(
            Assignment(reviewer=own, study=studies[study_id].id, position=position)
            for position, study_id in enumerate(listed, (last or 0) + 1)
        )
