"""The report of an audit: hand-counted numbers, refusals, and what a killed run leaves."""

import csv
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxrlabel.audit.observation import read_observation
from cxrlabel.audit.report import write_report
from cxrlabel.audit.report_files import FILES
from cxrlabel.audit.report_inputs import Choices, Sources
from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.studies import Mention

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("CXR_DATA") or ROOT.parent / "shared" / "data")
SECRET = "Zebrafish"  # in every report; no message may hold it

REPORTS = {
    "s1": f"{SECRET}. There is edema. No effusion.",
    "s2": f"{SECRET}. Edema is seen.",
    "s3": f"{SECRET}. No edema. Large effusion.",
    "s4": f"{SECRET}. Possible edema. No effusion.",
    "s5": f"{SECRET}. Possible effusion. History of edema.",
    "s6": f"{SECRET}. Edema.",
}
LABELS = """uid,Edema,Pleural Effusion,Mass,site
s1,1,0,,north
s2,1,,,north
s3,0,1,,south
s4,-1,0,,south
s5,,-1,,south
s6,1,,,south
"""
MANUAL = """uid,Edema,Effusion,Hernia
s1,1,0,0
s2,0,1,0
s3,1,1,0
s4,1,0,0
s5,0,,0
s7,1,1,0
"""
# what disagrees: two errors of Edema, one of Effusion, an uncertain label of each
DISAGREEMENTS = [
    ("s2", "Edema", "fp", "positive", "absent", "asserted", "edema/edema", "", "Edema"),
    ("s3", "Edema", "fn", "negative", "present", "negated", "edema/edema", "No", "edema"),
    ("s4", "Edema", "uncertain", "uncertain", "present", "hedged",
     "edema/edema", "Possible", "edema"),
    ("s2", "Pleural Effusion", "fn", "blank", "present", "not mentioned", "", "", ""),
    ("s5", "Pleural Effusion", "uncertain", "uncertain", "absent", "hedged",
     "pleural_effusion/effusion", "Possible", "effusion"),
]  # fmt: skip


def mention(study: str, finding: str, assertion: str, words: str, cue: str, reason: str) -> list:
    text = REPORTS[study]
    start = text.index(words)
    place = text.index(cue) if cue else None
    key = "edema/edema" if finding == "Edema" else "pleural_effusion/effusion"
    made = Mention(
        finding, assertion, reason, "report", 1, start, start + len(words), words, key,
        cue, place, None if place is None else place + len(cue), "", "", "",
    )  # fmt: skip
    return [study, *("" if cell is None else cell for cell in made)]


def write_mentions(path: Path) -> Path:
    rows = [
        mention("s1", "Edema", "positive", "edema", "", "asserted"),
        mention("s1", "Pleural Effusion", "negative", "effusion", "No", "negated"),
        mention("s2", "Edema", "positive", "Edema", "", "asserted"),
        mention("s3", "Edema", "negative", "edema", "No", "negated"),
        mention("s3", "Pleural Effusion", "positive", "effusion", "", "asserted"),
        mention("s4", "Edema", "uncertain", "edema", "Possible", "hedged"),
        mention("s4", "Pleural Effusion", "negative", "effusion", "No", "negated"),
        mention("s5", "Pleural Effusion", "uncertain", "effusion", "Possible", "hedged"),
        mention("s5", "Edema", "none", "edema", "History of", "historical"),
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["uid", *Mention._fields])
        writer.writerows(rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The inputs of a small audit, by option."""
    with (tmp_path / "reports.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["uid", "report"], *REPORTS.items()])
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "manual.csv").write_text(MANUAL)
    write_mentions(tmp_path / "mentions.csv")
    return {name: tmp_path / f"{name}.csv" for name in ("labels", "manual", "mentions", "reports")}


@pytest.fixture
def sources(files: dict[str, Path]) -> Sources:
    return Sources(
        labels=files["labels"],
        manual=files["manual"],
        reference="report",
        mentions=files["mentions"],
        reports=[str(files["reports"])],
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# the files


def test_metrics_are_those_counted_by_hand(sources, tmp_path):
    write_report(sources, tmp_path / "audit")
    found = {(r["finding"], r["uncertain_as"]): r for r in rows(tmp_path / "audit/metrics.csv")}

    counts = {
        key: [int(row[c]) for c in ("n", "tp", "fp", "fn", "tn")] for key, row in found.items()
    }
    assert counts == {
        ("Edema", "negative"): [5, 1, 1, 2, 1],
        ("Edema", "positive"): [5, 2, 1, 1, 1],
        ("Pleural Effusion", "negative"): [5, 1, 0, 1, 3],
        ("Pleural Effusion", "positive"): [5, 1, 1, 1, 2],
    }
    edema = found["Edema", "negative"]
    assert float(edema["sensitivity"]) == pytest.approx(1 / 3)
    assert float(edema["ppv"]) == pytest.approx(1 / 2)
    assert float(edema["f1"]) == pytest.approx(2 / 5)
    assert float(edema["kappa"]) == pytest.approx((2 / 5 - 12 / 25) / (1 - 12 / 25))
    assert "fewer than 5 effective events" in edema["note"]


def test_overall_estimate_leaves_out_no_finding_and_counts_all_others(sources, tmp_path):
    audit = write_report(sources, tmp_path / "audit").audit

    assert audit.overall["negative"].counts.tolist() == [2, 1, 3, 4]
    assert audit.overall["positive"].counts.tolist() == [3, 2, 2, 3]


def test_disagreements_name_the_words_that_decided(sources, tmp_path):
    write_report(sources, tmp_path / "audit")
    names = ("uid", "finding", "kind", "label", "truth", "reason", "rule", "cue", "text")
    found = [tuple(row[n] for n in names) for row in rows(tmp_path / "audit/disagreements.csv")]

    assert found == DISAGREEMENTS


def test_offsets_of_a_disagreement_are_those_of_its_words(sources, tmp_path):
    write_report(sources, tmp_path / "audit")

    for row in rows(tmp_path / "audit/disagreements.csv"):
        if row["text"]:
            assert REPORTS[row["uid"]][int(row["start"]) : int(row["end"])] == row["text"]


def test_error_sources_are_those_counted_by_hand(sources, tmp_path):
    write_report(sources, tmp_path / "audit")
    found = {
        (r["source"], r["value"], r["kind"]): (int(r["n"]), int(r["cases"]))
        for r in rows(tmp_path / "audit/error_sources.csv")
    }

    assert found["rule", "edema/edema", "fp"] == (2, 1)
    assert found["cue", "no", "fn"] == (3, 1)
    assert found["cue", "possible", "uncertain"] == (2, 1)
    assert found["reason", "not mentioned", "fn"] == (1, 1)
    assert found["reason", "historical", "fn"] == (1, 0)
    assert ("cue", "", "fp") not in found


def test_expected_share_is_that_of_the_findings(sources, tmp_path):
    write_report(sources, tmp_path / "audit")
    found = {
        (r["source"], r["value"], r["kind"]): r for r in rows(tmp_path / "audit/error_sources.csv")
    }

    # negative and blank: Edema misses 1 of 2, Effusion 1 of 3; "no" decided one and two of them
    row = found["cue", "no", "fn"]
    assert float(row["share"]) == pytest.approx(1 / 3)
    assert float(row["expected"]) == pytest.approx((1 / 2 + 2 * 1 / 3) / 3)


def test_groups_compare_errors_by_truth(sources, tmp_path):
    by_site = Sources(**{**fields(sources), "by": ["site"]})
    run = write_report(by_site, tmp_path / "audit")
    found = {
        (r["source"], r["value"], r["kind"]): (int(r["n"]), int(r["cases"]))
        for r in rows(tmp_path / "audit/error_sources.csv")
    }

    # absent: s1 Effusion, s2 Edema (fp); present: s1 Edema, s2 Effusion (fn)
    assert found["site", "north", "fp"] == (2, 1)
    assert found["site", "north", "fn"] == (2, 1)
    # absent: s4 Effusion, s5 both; present: s3 both (Edema fn), s4 Edema (uncertain: not missed)
    assert found["site", "south", "fp"] == (3, 0)
    assert found["site", "south", "fn"] == (3, 1)
    assert run.audit.material.places == {"site": str(sources.labels)}


def test_noise_table_is_read_back(sources, tmp_path):
    write_report(sources, tmp_path / "audit")
    noise = read_observation(tmp_path / "audit/noise.json")

    assert (noise.reference, noise.n) == ("report", 5)
    assert noise.findings["Edema"].states["uncertain"].truth_positive == 1
    assert list(noise.findings) == ["Edema", "Pleural Effusion"]


def test_tables_without_rows_are_not_written(sources, tmp_path):
    run = write_report(sources, tmp_path / "audit")

    names = ["metrics.csv", "error_sources.csv", "disagreements.csv", "noise.json", "index.html"]
    assert [path.name for path in run.written] == names
    assert sorted(p.name for p in (tmp_path / "audit").iterdir()) == sorted(names)


def fields(sources: Sources) -> dict:
    return {name: getattr(sources, name) for name in Sources.__dataclass_fields__}


def test_several_reviewers_give_agreement_errors_and_consensus(sources, files, tmp_path):
    lines = ["uid,reviewer,Edema,Effusion"]
    readings = {
        "ann": "1 0;0 1;1 1;1 0;0 0",
        "bob": "1 0;0 1;1 1;0 0;0 0",
        "cat": "1 0;0 0;1 1;1 0;0 0",
    }
    for name, cells in readings.items():
        for number, states in enumerate(cells.split(";"), 1):
            lines.append(f"s{number},{name},{states.replace(' ', ',')}")
    files["manual"].write_text("\n".join(lines) + "\n")
    write_report(sources, tmp_path / "audit")
    folder = tmp_path / "audit"

    agreed = {
        (r["finding"], r["reviewer_a"], r["reviewer_b"]): r for r in rows(folder / "agreement.csv")
    }
    # they differ in Edema of s4 alone: 4 of 5 agree, chance gives (3*2 + 2*3) / 25
    cohen = agreed["Edema", "ann", "bob"]
    assert float(cohen["agreement"]) == pytest.approx(4 / 5)
    assert float(cohen["kappa"]) == pytest.approx((4 / 5 - 12 / 25) / (1 - 12 / 25))
    assert agreed["Edema", "", ""]["kind"] == "fleiss"
    readers = {(r["finding"], r["reader"]) for r in rows(folder / "reader_errors.csv")}
    assert readers == {
        (finding, reader)
        for finding in ("Edema", "Pleural Effusion")
        for reader in ("ann", "bob", "cat", "labels")
    }
    truth = {(r["uid"], r["finding"]): r for r in rows(folder / "consensus.csv")}
    assert (truth["s4", "Edema"]["readings"], truth["s4", "Edema"]["positive"]) == ("3", "2")
    assert float(truth["s4", "Edema"]["truth"]) == 1
    assert 0.5 < float(truth["s4", "Edema"]["probability"]) <= 1


def test_other_labelers_are_readers(sources, files, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("uid,Edema\ns1,1\ns2,0\ns3,1\ns4,1\ns5,0\n")
    found = Sources(**{**fields(sources), "labelers": {"peer": other}})
    write_report(found, tmp_path / "audit")

    readers = {r["reader"] for r in rows(tmp_path / "audit/reader_errors.csv")}
    assert readers == {"reviewer", "labels", "peer"}


def test_four_states_give_the_three_tasks(sources, files, tmp_path):
    files["manual"].write_text("uid,Edema\ns1,1\ns2,0\ns3,0\ns4,-1\ns5,\n")
    write_report(sources, tmp_path / "audit")
    found = {(r["finding"], r["task"]): r for r in rows(tmp_path / "audit/chexpert_tasks.csv")}

    counts = {task: [int(found["Edema", task][c]) for c in ("tp", "fp", "fn", "tn")]
              for task in ("mention", "negation", "uncertainty")}  # fmt: skip
    assert counts == {
        "mention": [4, 0, 0, 1],  # s5 is blank in both
        "negation": [1, 0, 1, 3],  # s2 is labeled positive
        "uncertainty": [1, 0, 0, 4],
    }


def test_sample_gives_weights(sources, tmp_path):
    sample = tmp_path / "sample.csv"
    sample.write_text(
        "uid,stratum,inclusion_probability\ns1,a,1\ns2,a,1\ns3,b,.5\ns4,b,.5\ns5,b,.5\n"
    )
    run = write_report(Sources(**{**fields(sources), "sample": sample}), tmp_path / "audit")
    found = {(r["finding"], r["uncertain_as"]): r for r in rows(tmp_path / "audit/metrics.csv")}

    # Edema: tp s1 1; fn s3 and s4 2 each
    assert float(found["Edema", "negative"]["sensitivity"]) == pytest.approx(1 / 5)
    weights = {r["uid"]: float(r["weight"]) for r in rows(tmp_path / "audit/disagreements.csv")}
    assert weights == {"s2": 1, "s3": 2, "s4": 2, "s5": 2}
    assert run.audit.comparison.design == "stratified sample of 8 studies, 2 strata"
    # over both findings, in studies: tp 1 + 2, fn 1 + 2 + 2
    assert run.audit.overall["negative"].values[0] == pytest.approx(3 / 8)


@pytest.mark.parametrize(
    ("choices", "n", "positive"),
    [
        ({}, 4, 2),
        ({"blank": "open"}, 3, 2),
        ({"uncertain": "positive"}, 5, 3),
        ({"uncertain": "negative"}, 5, 2),
    ],
)
def test_choices_decide_what_is_truth(sources, files, tmp_path, choices, n, positive):
    files["manual"].write_text("uid,Edema\ns1,1\ns2,0\ns3,1\ns4,-1\ns5,\n")
    write_report(sources, tmp_path / "audit", choices=Choices(**choices))
    row = rows(tmp_path / "audit/metrics.csv")[0]

    assert (int(row["n"]), int(row["tp"]) + int(row["fn"])) == (n, positive)


def test_ambiguous_cells_are_left_out_on_request(sources, files, tmp_path):
    files["manual"].write_text("uid,Edema,Edema__amb\ns1,1,0\ns2,0,1\ns3,1,0\ns4,1,0\ns5,0,1\n")
    write_report(sources, tmp_path / "audit", choices=Choices(drop_ambiguous=True))

    assert int(rows(tmp_path / "audit/metrics.csv")[0]["n"]) == 3


def test_patients_are_found_in_the_reports_and_widen_intervals(sources, files, tmp_path):
    lines = [f"{study},{text},{'p1' if study < 's4' else 'p2'}" for study, text in REPORTS.items()]
    files["reports"].write_text("uid,report,patient_id\n" + "\n".join(lines) + "\n")
    alone = write_report(sources, tmp_path / "alone").audit
    found = Sources(**{**fields(sources), "patient": "patient_id"})
    together = write_report(found, tmp_path / "together").audit

    assert together.material.places == {"patient_id": "reports"}
    assert len(set(together.comparison.patients.tolist())) == 2
    widths = [
        a.metrics["specificity_hi"][2] - a.metrics["specificity_lo"][2] for a in (alone, together)
    ]
    assert widths[0] < widths[1]


def test_formulas_are_neutralised(sources, files, tmp_path):
    text = files["labels"].read_text().replace("north", "=1+1")
    files["labels"].write_text(text)
    write_report(Sources(**{**fields(sources), "by": ["site"]}), tmp_path / "audit")

    values = {r["value"] for r in rows(tmp_path / "audit/error_sources.csv")}
    assert "'=1+1" in values


def test_only_labels_and_review_are_needed(sources, tmp_path):
    bare = Sources(labels=sources.labels, manual=sources.manual, reference="report")
    write_report(bare, tmp_path / "audit")

    found = rows(tmp_path / "audit/disagreements.csv")
    assert [(r["uid"], r["kind"], r["rule"], r["text"]) for r in found[:2]] == [
        ("s2", "fp", "", ""), ("s3", "fn", "", "")
    ]  # fmt: skip
    page = (tmp_path / "audit/index.html").read_text()
    assert "--reports" in page and "--mentions" in page
    assert SECRET not in page


# refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": None}, "--reference"),
        ({"by": ["ward"]}, "no column 'ward' in the labels, the reports or the manual review"),
        ({"patient": "mrn"}, "no column 'mrn'"),
        (
            {"labelers": {"labels": Path("labels.csv")}},
            "--labeler: 'labels' is the name of another",
        ),
        ({"reports": ["nothing.csv"]}, "nothing.csv: no such file"),
        ({"mentions": Path("reports.csv")}, "no column 'finding'"),
        ({"labels": Path("gone.csv")}, "gone.csv: no such file"),
    ],
)
def test_wrong_input_is_said(sources, files, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        write_report(Sources(**{**fields(sources), **change}), tmp_path / "audit")

    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value)
    assert not (tmp_path / "audit").exists()


def test_review_that_leaves_all_open_is_refused(sources, files, tmp_path):
    files["manual"].write_text("uid,Edema\ns1,-1\ns2,-1\n")
    with pytest.raises(InputError, match="a truth that is not left open"):
        write_report(sources, tmp_path / "audit")


def test_mentions_of_other_reports_are_refused_without_their_words(sources, files, tmp_path):
    text = files["reports"].read_text().replace("Possible", "Perhaps a little bit of")
    files["reports"].write_text(text)
    with pytest.raises(InputError, match="expected the reports that the mentions are of") as error:
        write_report(sources, tmp_path / "audit")

    assert SECRET not in str(error.value) and "edema" not in str(error.value)


def test_id_columns_may_have_different_names(sources, files, tmp_path):
    files["manual"].write_text(MANUAL.replace("uid", "study_id"))
    write_report(sources, tmp_path / "audit")

    found = rows(tmp_path / "audit/disagreements.csv")
    assert [row["study_id"] for row in found] == [row[0] for row in DISAGREEMENTS]
    assert found[0]["rule"] == "edema/edema"


def test_mentions_of_other_studies_are_refused(sources, files, tmp_path):
    text = files["mentions"].read_text().replace("\ns", "\nx")
    files["mentions"].write_text(text)
    with pytest.raises(InputError, match="no mention is of the 5 labeled and reviewed studies"):
        write_report(sources, tmp_path / "audit")


def test_bytes_that_are_no_text_do_not_stop_the_report(sources, files, tmp_path):
    for name in ("reports", "mentions", "labels"):
        content = files[name].read_bytes()
        files[name].write_bytes(
            content.replace(b"Possible", b"P\xffssible").replace(b"north", b"\xff")
        )
    write_report(Sources(**{**fields(sources), "by": ["site"]}), tmp_path / "audit")

    cues = {row["cue"] for row in rows(tmp_path / "audit/disagreements.csv")}
    assert "P\ufffdssible" in cues


def test_value_that_differs_within_a_study_is_refused(sources, files, tmp_path):
    files["manual"].write_text("uid,reviewer,Edema,ward\ns1,a,1,x\ns1,b,1,y\ns2,a,0,x\n")
    with pytest.raises(InputError, match=r"manual.csv:3: column 'ward' differs"):
        write_report(Sources(**{**fields(sources), "by": ["ward"]}), tmp_path / "audit")


# the folder


def test_report_is_replaced_with_force_alone_and_other_files_stay(sources, files, tmp_path):
    folder = tmp_path / "audit"
    write_report(Sources(**{**fields(sources), "labelers": {"peer": sources.labels}}), folder)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        write_report(sources, folder)
    write_report(sources, folder, force=True)

    assert (folder / "mine.txt").read_text() == "mine"
    assert not (folder / "consensus.csv").exists()  # of the first report


def test_input_is_never_replaced(sources, files, tmp_path):
    folder = tmp_path / "audit"
    folder.mkdir()
    labels = files["labels"].rename(folder / "metrics.csv")
    with pytest.raises(InputError, match="is read already"):
        write_report(Sources(**{**fields(sources), "labels": labels}), folder, force=True)

    assert labels.read_text() == LABELS


def test_file_in_place_of_the_folder_is_refused(sources, tmp_path):
    (tmp_path / "audit").write_text("")
    with pytest.raises(InputError, match="this is a file; expected a folder"):
        write_report(sources, tmp_path / "audit")


def test_equal_runs_give_equal_files(sources, tmp_path):
    with_site = Sources(**{**fields(sources), "by": ["site"], "labelers": {"peer": sources.labels}})
    written = [write_report(with_site, tmp_path / name).written for name in ("one", "two")]

    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_order_of_rows_does_not_matter(sources, files, tmp_path):
    write_report(sources, tmp_path / "one")
    for name in ("labels", "manual", "reports", "mentions"):
        head, *lines = files[name].read_text().splitlines()
        # the mentions of a study keep their order, which says what stands first
        lines = lines[::-1] if name != "mentions" else sorted(lines, key=lambda line: line[:2])[::1]
        files[name].write_text("\n".join([head, *lines]) + "\n")
    write_report(sources, tmp_path / "two")

    for name in ("metrics.csv", "disagreements.csv", "error_sources.csv", "noise.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from cxrlabel.audit import report, report_files
from cxrlabel.audit.report_inputs import Sources
folder, at = Path(sys.argv[1]), sys.argv[2]
class Killing(type(Path())):
    def replace(self, target):
        if Path(target).name == at and Path(target).parent.name == "audit":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().replace(target)
if at == "writing":
    report.write_observation = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
sources = Sources(labels=folder / "labels.csv", manual=folder / "manual.csv", reference="report")
report.write_report(sources, Killing(folder / "audit"))
"""


@pytest.mark.parametrize("at", ["writing", "metrics.csv", "noise.json", "index.html"])
def test_killed_run_leaves_no_half_file_and_the_next_one_works(sources, tmp_path, at):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), at],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    bare = Sources(labels=sources.labels, manual=sources.manual, reference="report")
    whole = write_report(bare, tmp_path / "whole").written
    left = [path for path in (tmp_path / "audit").iterdir() if path.is_file()]
    assert all(path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes() for path in left)
    assert not (tmp_path / "audit/index.html").exists()

    again = write_report(bare, tmp_path / "audit").written
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in whole]
    assert {path.name for path in (tmp_path / "audit").iterdir()} == {path.name for path in again}


# the command


def test_command_says_what_it_left_out_and_wrote(cxr, files, tmp_path):
    out = tmp_path / "audit"
    inputs = [files["labels"], files["manual"], "--reference", "report", "--out", out]
    done = cxr(
        "audit", "report", *inputs, "--mentions", files["mentions"], "--reports", files["reports"]
    )

    assert done.exit_code == 0, done.output
    assert "left out: 1 study labeled but not reviewed" in done.stderr
    assert "left out: 1 study reviewed but not labeled" in done.stderr
    assert "only labeled, not compared: Mass" in done.stderr
    assert "only reviewed, not compared: Hernia" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == f"audited 5 studies, 2 findings -> {out / 'index.html'}"
    assert "0.333 [" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert SECRET not in done.output


def test_json_is_a_summary_for_programs(cxr, files, tmp_path):
    done = cxr("audit", "report", files["labels"], files["manual"], "--reference", "report",
               "--by", "site", "--out", tmp_path / "audit", "--json")  # fmt: skip
    found = json.loads(done.stdout)

    assert found["studies"] == 5
    assert found["left_out"]["labeled_only"] == found["left_out"]["reviewed_only"] == 1
    assert [row["tp"] for row in found["findings"]] == [1, 2, 1, 1]
    assert found["overall"]["negative"]["sensitivity"][0] == pytest.approx(2 / 5)
    assert found["disagreements"] == 5
    assert Path(found["outputs"][-1]).name == "index.html"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--consensus", "best"], "--consensus: 'best'; expected one of majority, any, all, first"),
        (["--blank", "x"], "--blank: 'x'"),
        (["--uncertain", "x"], "--uncertain: 'x'"),
        (["--labeler", "file.csv"], "--labeler: 'file.csv'; expected NAME=FILE"),
        (["--labeler", "a=b", "--labeler", "a=c"], "--labeler: 'a' comes twice"),
    ],
)
def test_wrong_option_is_one_line(cxr, files, tmp_path, options, message):
    done = cxr(
        "audit", "report", files["labels"], files["manual"], "--out", tmp_path / "x", *options
    )

    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


# many studies, and real ones


def test_two_thousand_studies_take_seconds_and_a_small_page(tmp_path):
    names = ["Edema", "Mass", "Nodule", "Fracture", "Hernia", "Atelectasis", "Pneumonia"]
    states, truths = ("1", "0", "-1", ""), ("1", "0", "0", "0", "")
    head = f"study_id,{','.join(names)}\n"
    for name, values, step in (("labels", states, 3), ("manual", truths, 5)):
        lines = [
            ",".join([f"s{i}", *(values[(i * step + j * 7) % len(values)] for j in range(7))])
            for i in range(2000)
        ]
        (tmp_path / f"{name}.csv").write_text(head + "\n".join(lines) + "\n")
    with (tmp_path / "reports.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["study_id", "report"],
                *([f"s{i}", "FINDINGS: " + "Words. " * 200] for i in range(2000)),
            ]
        )
    start = time.process_time()
    run = write_report(
        Sources(labels=tmp_path / "labels.csv", manual=tmp_path / "manual.csv", reference="report",
                reports=[str(tmp_path / "reports.csv")]),
        tmp_path / "audit",
    )  # fmt: skip

    assert time.process_time() - start < 60
    assert len(run.audit.disagreements) > 4000
    assert run.written[-1].stat().st_size < 2_000_000
    assert "The page has 400 of" in run.written[-1].read_text()
    assert len(rows(tmp_path / "audit/disagreements.csv")) == len(run.audit.disagreements)


@pytest.fixture(scope="module")
def openi(cxr, tmp_path_factory):
    """The folder with labels, mentions and reports of every third Open-i report."""
    codes, reports = DATA / "openi/human_codes.csv", DATA / "openi/reports.csv"
    if not codes.exists():
        pytest.skip(f"no real reports in {DATA} (CXR_DATA)")
    folder = tmp_path_factory.mktemp("openi")
    found = rows(reports)
    with (folder / "reports.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found[::3])
    done = cxr("label", folder / "reports.csv", "--id", "uid", "-o", folder / "labels.csv",
               "--mentions", folder / "mentions.csv")  # fmt: skip
    assert done.exit_code == 0, done.output
    sources = Sources(
        labels=folder / "labels.csv", manual=codes, reference="report", id_column="uid",
        mentions=folder / "mentions.csv", reports=[str(folder / "reports.csv")],
    )  # fmt: skip
    write_report(sources, folder / "audit")
    return folder


def test_counts_on_open_i_are_those_of_the_scoring_script(openi):
    script = DATA.parent / "bench" / "score_labels.py"
    if not script.exists():
        pytest.skip(f"no {script}")
    spec = importlib.util.spec_from_file_location("score_labels", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pred, columns, _ = module.read_pred(openi / "labels.csv")
    gold = [g for g in module.read_gold(DATA / "openi/human_codes.csv", "all") if g["uid"] in pred]
    metrics = {(r["finding"], r["uncertain_as"]): r for r in rows(openi / "audit/metrics.csv")}

    for reading, code in (("negative", "0"), ("positive", "1")):
        tp, fp, fn, use, _, names = module.matrices(
            gold, pred, columns, module.SETS["all18"], code, False, False
        )
        for column, name in enumerate(names):
            row = metrics[resolve(name), reading]
            found = [int(row[cell]) for cell in ("tp", "fp", "fn", "n")]
            assert found == [int(x[:, column].sum()) for x in (tp, fp, fn, use)], name
    assert len(metrics) == 42


def test_every_label_of_open_i_has_what_decided_it(openi):
    reasons = {row["reason"] for row in rows(openi / "audit/disagreements.csv")}

    assert "no such mention" not in reasons
    assert "" not in reasons


def test_numbers_are_finite_or_blank(openi):
    for name in ("metrics.csv", "error_sources.csv"):
        for row in rows(openi / "audit" / name):
            for key, cell in row.items():
                if cell and key not in (
                    "finding",
                    "uncertain_as",
                    "note",
                    "source",
                    "value",
                    "kind",
                ):
                    assert math.isfinite(float(cell)), (name, key)


def test_every_file_of_a_report_is_described_in_the_documentation():
    page = (ROOT / "docs/files.md").read_text(encoding="utf-8")

    assert [name for name in FILES if f"`{name}`" not in page] == []
