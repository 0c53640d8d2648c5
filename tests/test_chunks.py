"""Chunks: many reports at once give what each gives by itself; the work leaves no traces."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path

import pytest
from counting import add

from cxrlabel.batch import Outputs, label_files
from cxrlabel.chunks import HIERARCHIES, Batch, Chunk, ChunkLabeler, Job, LabelingOptions
from cxrlabel.chunks import label_report as label_with_hierarchy
from cxrlabel.errors import InputError
from cxrlabel.findings import CODES, load_dialect, load_label_set
from cxrlabel.labeler import Labeler
from cxrlabel.layout import Layout
from cxrlabel.readers import UNDECODABLE, ReportRow
from cxrlabel.stats import StatsCounter
from cxrlabel.studies import AGGREGATES, MAX_CHARACTERS, StudyLabels, blank_labels
from cxrlabel.writers import Column, cells_of

EVERYTHING_OF_TWO = (
    "Pneumonia on the right. Possible pneumonia on the left. No pneumonia elsewhere. "
    "Mild edema. Possible edema. No edema."
)
MADE = [
    # a later reading corrects an earlier one, or has nothing to correct
    "FINDINGS: Left effusion.\nADDENDUM: There is no effusion.",
    "FINDINGS: Left effusion.\nADDENDUM: Heart size is normal.",
    "ADDENDUM: Edema.",
    "WET READ: Left effusion.\nFINAL REPORT: No effusion.",
    "PRELIMINARY REPORT: No effusion.\nFINDINGS: Possible effusion.",
    "WET READ: Left effusion.",
    # a sentence decides about the one before it
    "Small effusion. It has resolved.",
    "Is there a pneumothorax? None is seen.",
    "FINDINGS: Left effusion.\nIMPRESSION: It has resolved.",
    "No nodule. Right apical nodule. This is questionable.",
    "It has resolved.",
    "INDICATION: Small effusion. It has resolved.\nFINDINGS: Lungs are clear.",
    # the same sentences, with and without labels
    "INDICATION: Edema.\nFINDINGS: Edema. Small effusion.\nIMPRESSION: Edema.",
    EVERYTHING_OF_TWO,
    f"INDICATION: {EVERYTHING_OF_TWO}\nFINDINGS: No pneumonia elsewhere.",
    "Left pacemaker. The lungs are clear.",
    "Scoliosis. No edema.",
    "Multifocal pneumonia.\nNo consolidation.",
    # nothing to label
    "",
    " \n\t",
    "INDICATION: cough, rule out pneumonia",
    "a " * (MAX_CHARACTERS // 2) + "a",
    "...",
]
COLUMNS = [
    (("indication", "Edema?"), ("findings", "No nodule. Edema."), ("impression", "Pneumonia.")),
    (("findings", "Small effusion."), ("addendum", "It has resolved. No effusion.")),
    (("findings", ""), ("impression", "Edema.\nADDENDUM: No edema.")),
    (("findings", " "), ("impression", "")),
    (("indication", "Cough."), ("findings", "")),
    (("notes", "Edema. This has resolved."),),
]
DAMAGED = ("s\ufffd", "No edema. \ufffd Small effusion.")

OPTIONS = [LabelingOptions(aggregate=a, hierarchy=h) for a, h in product(AGGREGATES, HIERARCHIES)]


@pytest.fixture(autouse=True)
def _shared(shared_labelers: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    with shared_labelers():
        yield


@pytest.fixture(scope="module")
def rows(sample_reports: dict[str, str]) -> list[ReportRow]:
    """All kinds of reports, each with an id of its own."""
    reports = [(("", text),) for text in (*sample_reports.values(), *MADE)]
    made = [
        ReportRow(f"s{number}", texts, "", (f"site {number}",), f"r.csv:{number}")
        for number, texts in enumerate([*reports, *COLUMNS])
    ]
    study, text = DAMAGED
    return [*made[:9], ReportRow(study, (("", text),), UNDECODABLE, ("",), "r.csv"), *made[9:]]


def job(labeling: LabelingOptions, *, label_set: str = "all", mentions: bool = True) -> Job:
    layout = Layout(load_label_set(label_set), load_dialect("cxr"), "uid", ("site",), status=True)
    return Job(labeling, layout, mentions)


def by_itself(row: ReportRow, labeling: LabelingOptions) -> StudyLabels:
    if row.status == UNDECODABLE:
        return StudyLabels(UNDECODABLE, blank_labels(labeling.labeler().findings), (), ())
    return label_with_hierarchy(row.texts, labeling)


def as_rows(columns: list[Column]) -> list[tuple[object, ...]]:
    return list(zip(*map(cells_of, columns), strict=True))


@pytest.fixture(scope="module", params=OPTIONS, ids=lambda o: f"{o.aggregate}-{o.hierarchy}")
def labeled(
    request: pytest.FixtureRequest,
    rows: list[ReportRow],
    shared_labelers: Callable[[], AbstractContextManager[None]],
) -> tuple[Chunk, list[StudyLabels]]:
    """A chunk of all rows, and what each of them gives by itself."""
    with shared_labelers():
        chunk = ChunkLabeler(job(request.param))(Batch(7, rows))
        return chunk, [by_itself(row, request.param) for row in rows]


Labeled = tuple[Chunk, list[StudyLabels]]


def test_chunk_has_the_labels_of_each_report(labeled: Labeled, rows: list[ReportRow]) -> None:
    chunk, studies = labeled
    numbers = {state: float(code) if code else None for state, code in CODES.items()}

    assert as_rows(chunk.labels) == [
        (row.study_id, *row.kept, *map(numbers.__getitem__, study.labels.values()), study.status)
        for row, study in zip(rows, studies, strict=True)
    ]


def test_chunk_has_the_mentions_of_each_report(labeled: Labeled, rows: list[ReportRow]) -> None:
    chunk, studies = labeled

    assert chunk.mentions is not None
    assert as_rows(chunk.mentions.columns()) == [
        (row.study_id, *mention)
        for row, study in zip(rows, studies, strict=True)
        for mention in study.mentions
    ]


def test_chunk_counts_each_report(labeled: Labeled) -> None:
    chunk, studies = labeled
    counter = StatsCounter(tuple(load_label_set("all").columns))
    add(counter, *studies)

    assert chunk.counter.statistics() == counter.statistics()


def test_chunk_knows_its_batch_and_size(labeled: Labeled, rows: list[ReportRow]) -> None:
    chunk, _ = labeled

    assert (chunk.number, chunk.reports) == (7, len(rows))


def test_chunk_shows_no_report_text(labeled: Labeled) -> None:
    chunk, _ = labeled

    assert chunk.mentions is not None
    shown = repr([chunk, chunk.mentions, *chunk.mentions.columns()])
    assert "effusion" not in shown.lower()


def test_every_status_is_among_the_reports(labeled: Labeled) -> None:
    _, studies = labeled

    assert {study.status for study in studies} == {
        "labeled", "empty", "no usable section", "undecodable", "too long",
    }  # fmt: skip


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_chunk_counts_the_reports_that_the_aggregate_changed(
    rows: list[ReportRow], hierarchy: str
) -> None:
    usual, public = (LabelingOptions(aggregate=aggregate) for aggregate in AGGREGATES)
    differ = [by_itself(r, usual).labels != by_itself(r, public).labels for r in rows]

    chunk = ChunkLabeler(job(LabelingOptions(aggregate=AGGREGATES[1], hierarchy=hierarchy)))(
        Batch(0, rows)
    )

    assert chunk.changed["aggregate"] == sum(differ) > 0


def test_chunk_counts_no_change_where_no_option_asks_for_one(rows: list[ReportRow]) -> None:
    assert not ChunkLabeler(job(LabelingOptions()))(Batch(0, rows)).changed


def test_chunk_counts_the_labels_of_the_label_set_alone(rows: list[ReportRow]) -> None:
    counter = StatsCounter(tuple(load_label_set("nih14").columns))
    add(counter, *(by_itself(row, LabelingOptions()) for row in rows))

    chunk = ChunkLabeler(job(LabelingOptions(), label_set="nih14"))(Batch(0, rows))

    assert chunk.counter.findings == counter.findings
    assert chunk.counter.statistics() == counter.statistics()


def test_mentions_that_nobody_wants_are_counted_and_not_kept(rows: list[ReportRow]) -> None:
    kept, dropped = (
        ChunkLabeler(job(LabelingOptions(), mentions=wanted))(Batch(0, rows))
        for wanted in (True, False)
    )

    assert dropped.mentions is None
    assert dropped.counter.statistics() == kept.counter.statistics()


@pytest.mark.parametrize(
    ("report", "plain"),
    [
        ("No edema. Small effusion.", True),
        ("INDICATION: Edema.\nFINDINGS: Edema.\nIMPRESSION: No effusion.", True),
        ("WET READ: Left effusion.", True),
        ("FINDINGS: Left effusion.\nADDENDUM: Told by phone.", True),
        ("INDICATION: Small effusion. It has resolved.\nFINDINGS: No edema.", True),
        ("Small effusion. It has resolved.", False),
        ("FINDINGS: Left effusion.\nADDENDUM: There is no effusion.", False),
        ("WET READ: Left effusion.\nFINDINGS: Edema.", False),
    ],
)
def test_reading_is_plain_where_its_sentences_stand_for_themselves(
    labeler: Labeler, report: str, plain: bool
) -> None:
    assert labeler.is_plain(labeler.read(report)) is plain


# Garbage collection


def write(folder: Path, ids: list[str]) -> list[str]:
    path = folder / "r.csv"
    path.write_text("uid,report\n" + "".join(f"{study},No edema.\n" for study in ids))
    return [str(path)]


@pytest.fixture
def threshold() -> Iterator[tuple[int, int, int]]:
    """Thresholds that nobody else sets."""
    usual = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    yield gc.get_threshold()
    gc.set_threshold(*usual)


@pytest.mark.parametrize("resume", [False, True])
def test_garbage_is_collected_as_before_when_a_run_is_done(
    tmp_path: Path, threshold: tuple[int, int, int], resume: bool
) -> None:
    during = []

    label_files(
        write(tmp_path, ["1", "2"]),
        Outputs(tmp_path / "l.csv"),
        resume=resume,
        progress=lambda _: during.append(gc.get_threshold()),
    )

    assert gc.get_threshold() == threshold
    assert during[0][0] > threshold[0]
    assert during[0][1:] == threshold[1:]


def test_garbage_is_collected_as_before_after_a_mistake_in_a_row(
    tmp_path: Path, threshold: tuple[int, int, int]
) -> None:
    with pytest.raises(InputError, match="distinct ids"):
        label_files(write(tmp_path, ["1", "1"]), Outputs(tmp_path / "l.csv"))

    assert gc.get_threshold() == threshold


@pytest.mark.parametrize("resume", [False, True])
def test_garbage_is_collected_as_before_while_an_error_in_writing_is_handled(
    tmp_path: Path, threshold: tuple[int, int, int], resume: bool
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as held:
        label_files(
            write(tmp_path, ["1", "2"]),
            Outputs(tmp_path / "l.csv"),
            resume=resume,
            progress=interrupt,
        )

    assert gc.get_threshold() == threshold, held
