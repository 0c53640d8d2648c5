"""The tables of a review. One database holds one review; times are seconds since 1970 (UTC)."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, Double, ForeignKey, Index, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA: Final = 1  # of the tables below; an application opens no later one

REPORT: Final = "report"
IMAGE: Final = "image"
REFERENCES: Final = (REPORT, IMAGE)


class Base(DeclarativeBase):
    """The tables' common base; names of constraints are the same in every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, float: Double}  # noqa: RUF012


class Review(Base):
    """What is reviewed, fixed when the review is created; the table has one row."""

    __tablename__ = "review"

    id: Mapped[int] = mapped_column(primary_key=True)
    schema: Mapped[int]
    title: Mapped[str]
    reference: Mapped[str]  # "report" or "image": what a reading is of
    id_column: Mapped[str]
    findings: Mapped[list[Any]]  # [name, key] pairs in the order of the page
    unblind: Mapped[bool]  # labels are shown before a study is committed
    has_labels: Mapped[bool]
    double: Mapped[float]  # share of studies that two people read
    seed: Mapped[int]
    secret: Mapped[str]  # of which the links' tokens are made
    created_at: Mapped[float]


class Reviewer(Base):
    """A person with a link of their own."""

    __tablename__ = "reviewer"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    reads: Mapped[bool]
    adjudicates: Mapped[bool]
    oversees: Mapped[bool]  # sees the summary, reads nothing


class Study(Base):
    """A study to read."""

    __tablename__ = "study"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(unique=True)
    texts: Mapped[list[Any]]  # as they came: [section, text] pairs
    blocks: Mapped[list[Any]]  # the page's sections: `document.Block` as a list
    labels: Mapped[dict[str, Any]]  # finding -> state by the labeler; may be empty
    mentions: Mapped[list[Any]]  # `document.Highlight` as a list
    images: Mapped[list[Image]] = relationship(order_by="Image.id")


class Image(Base):
    """An image of a study, as a file on the server's machine."""

    __tablename__ = "image"

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[int] = mapped_column(ForeignKey(Study.id), index=True)
    path: Mapped[str]  # absolute
    view: Mapped[str]  # frontal, lateral or ""


class Assignment(Base):
    """A study in one reviewer's list: whether it is read, and how it went."""

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("reviewer", "study"),
        Index("position_of_reviewer", "reviewer", "position", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reviewer: Mapped[int] = mapped_column(ForeignKey(Reviewer.id))
    study: Mapped[int] = mapped_column(ForeignKey(Study.id), index=True)
    position: Mapped[int]  # in the reviewer's own order, from 1
    note: Mapped[str] = mapped_column(default="")
    unsure: Mapped[bool] = mapped_column(default=False)
    seconds: Mapped[float] = mapped_column(default=0.0)  # spent on it, breaks left out
    touched_at: Mapped[float | None]  # opened or changed last
    committed_at: Mapped[float | None]
    revealed_at: Mapped[float | None]  # when the labels were shown: the reading is final


class Reading(Base):
    """What a reviewer chose for a finding of a study; no row where nothing is chosen yet."""

    __tablename__ = "reading"

    assignment: Mapped[int] = mapped_column(ForeignKey(Assignment.id), primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)  # its key
    state: Mapped[str]
    at: Mapped[float]


class Change(Base):
    """Every choice that was made, in order: what undo takes back, and the audit trail."""

    __tablename__ = "change"

    id: Mapped[int] = mapped_column(primary_key=True)
    assignment: Mapped[int] = mapped_column(ForeignKey(Assignment.id), index=True)
    batch: Mapped[int]  # changes of one action have one number
    finding: Mapped[str]
    before: Mapped[str]  # "" where nothing was chosen
    after: Mapped[str]
    at: Mapped[float]
    undone: Mapped[bool] = mapped_column(default=False)


class Adjudication(Base):
    """A decision between readings of a study that differ."""

    __tablename__ = "adjudication"

    study: Mapped[int] = mapped_column(ForeignKey(Study.id), primary_key=True)
    reviewer: Mapped[int] = mapped_column(ForeignKey(Reviewer.id))
    note: Mapped[str] = mapped_column(default="")
    touched_at: Mapped[float]
    committed_at: Mapped[float | None]


class Decision(Base):
    """What an adjudicator decided for a finding; no row where nothing is decided yet."""

    __tablename__ = "decision"

    study: Mapped[int] = mapped_column(ForeignKey(Adjudication.study), primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    at: Mapped[float]
