from pathlib import Path

import pytest

from cxrlabel.errors import InputError
from cxrlabel.openi import read_report

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <uId id="CXR7"/>
  <MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION"/>
    <AbstractText Label="FINDINGS">Small effusion &lt; 1 cm. <b>No</b> pneumothorax.</AbstractText>
    <AbstractText Label="IMPRESSION">Small effusion.</AbstractText>
  </Abstract></Article></MedlineCitation>
  <MeSH><major>Pleural Effusion/small</major></MeSH>
</eCitation>
"""
ONE = '<e><uId id="x"/>{}</e>'
SECTION = '<AbstractText Label="{}">{}</AbstractText>'
BILLION = (
    '<!DOCTYPE e [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<e><uId id="x"/><AbstractText Label="FINDINGS">&b;</AbstractText></e>'
)
EXTERNAL = (
    '<!DOCTYPE e [<!ENTITY a SYSTEM "secret.txt">]>'
    '<e><uId id="x"/><AbstractText Label="FINDINGS">&a;</AbstractText></e>'
)


def write(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    path = folder / "7.xml"
    path.write_bytes(content.encode(encoding))
    return path


def message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_report(path)
    return str(caught.value)


def test_report_gives_id_and_sections(tmp_path: Path) -> None:
    assert read_report(write(tmp_path, REPORT)) == {
        "uid": "CXR7",
        "indication": "",
        "comparison": "None.",
        "findings": "Small effusion < 1 cm. No pneumothorax.",
        "impression": "Small effusion.",
    }


def test_section_that_comes_twice_is_two_paragraphs(tmp_path: Path) -> None:
    sections = SECTION.format("FINDINGS", "One.") + SECTION.format("Findings ", "Two.")

    assert read_report(write(tmp_path, ONE.format(sections)))["findings"] == "One.\nTwo."


def test_declared_encoding_is_used(tmp_path: Path) -> None:
    head = '<?xml version="1.0" encoding="ISO-8859-1"?>'
    content = head + ONE.format(SECTION.format("FINDINGS", "Kerley é"))

    assert read_report(write(tmp_path, content, "latin-1"))["findings"] == "Kerley é"


@pytest.mark.parametrize("content", [BILLION, EXTERNAL])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_file_that_declares_entities_is_refused(
    tmp_path: Path, content: str, encoding: str
) -> None:
    (tmp_path / "secret.txt").write_text("secret")

    assert message(write(tmp_path, content, encoding)).endswith("expected none")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ":1: not well-formed XML: no element found"),
        ("<e>\n<b></e>", ":2: not well-formed XML: mismatched tag"),
        ("<e>&nbsp;</e>", ":1: not well-formed XML: undefined entity"),
        ("<e/>", ': no <uId id="...">; expected a report of Open-i'),
        (ONE.format(SECTION.format("VIEW", "x")), "label 'VIEW'; expected COMPARISON, FINDINGS"),
        (ONE.format(SECTION.format("x" * 99, "x")), "the label of 99 characters"),
    ],
)
def test_bad_file_is_an_error(tmp_path: Path, content: str, expected: str) -> None:
    assert expected in message(write(tmp_path, content))


def test_no_report_text_in_messages(tmp_path: Path) -> None:
    content = ONE.format('<AbstractText Label="FINDINGS">private')

    assert "private" not in message(write(tmp_path, content))
