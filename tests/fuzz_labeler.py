"""Coverage-guided fuzzing of the labeler; a program of its own, which pytest does not collect.

atheris is not a dependency: install it where this runs, beside the project.

    python tests/fuzz_labeler.py -max_total_time=300 FOLDER

FOLDER keeps the inputs that reached something new; a crash leaves its input in the working folder.
Bytes become text in two ways: as UTF-8, and as a choice of the words that the rules know, because
random letters never spell a finding.
"""

import sys

import atheris

with atheris.instrument_imports(include=["cxrlabel"]):
    from cxrlabel.findings import STATES
    from cxrlabel.labeler import Labeler
    from cxrlabel.rulebook import load_rulebook
    from cxrlabel.studies import LABELED, TOO_LONG

GLUE = (
    " ", ". ", ", ", "; ", ": ", "? ", "\n", "\r\n", " - ", "(", ")", "/", "1. ", "XXXX", "___",
    "[**", "**]", "FINDINGS: ", "IMPRESSION:\n", "INDICATION: ", "ADDENDUM: ", " and ", " or ",
    " no ", " not ", " is ", " may be ", " versus ", " cannot be excluded", " has resolved", " it ",
    "\u00a0", "\0", "é", "😀",
)  # fmt: skip

labeler = Labeler.load()


def words() -> tuple[str, ...]:
    """Glue, and every phrase that names a finding or says something about the anatomy."""
    phrases: set[object] = set()
    for finding in load_rulebook().findings.values():
        phrases.update(*(rule.phrases for rule in finding.rules))
        for anatomy in finding.anatomy:
            phrases.update(anatomy.terms, *anatomy.predicates.values())
    return (*GLUE, *sorted(phrase for phrase in phrases if isinstance(phrase, str)))


WORDS = words()


def as_words(data: bytes) -> str:
    """Two bytes choose a word: every other one is glue, so that sentences come about."""
    pairs = zip(data[::2], data[1::2], strict=False)
    return "".join(WORDS[(high << 8 | low) % len(WORDS)] + GLUE[low % 8] for high, low in pairs)


def check(report: str) -> None:
    """One report: known states, offsets that slice back, the same result from a fresh look."""
    result = labeler.label(report)
    if result.status not in (LABELED, TOO_LONG) and set(result.labels.values()) != {"blank"}:
        raise AssertionError(f"status {result.status} with labels")
    if not set(result.labels.values()) <= set(STATES):
        raise AssertionError("a label that is no state")
    for mention in result.mentions:
        if report[mention.start : mention.end] != mention.text or not mention.text:
            raise AssertionError("a mention's offsets do not slice back")
        if mention.cue_start is not None and (
            report[mention.cue_start : mention.cue_end] != mention.cue or not mention.cue
        ):
            raise AssertionError("a cue's offsets do not slice back")
    if labeler.label(report) != result:
        raise AssertionError("labeled again, it has other labels")


def fuzz(data: bytes) -> None:
    """What atheris calls."""
    if data[:1] < b"\x80":
        check(data[1:].decode("utf-8", "replace"))
    else:
        check(as_words(data[1:]))


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
