"""Count studies one by one, as a chunk counts all of its own at once."""

from collections import Counter

from cxrlabel.states import as_codes
from cxrlabel.stats import StatsCounter, mention_key
from cxrlabel.studies import LABELED, StudyLabels


def add(counter: StatsCounter, *studies: StudyLabels) -> None:
    """Count studies, which have a label for every finding of the counter at least."""
    labels = [
        {name: study.labels[name] for name in counter.findings}
        for study in studies
        if study.status == LABELED
    ]
    counter.add(
        Counter((study.status, study.sections) for study in studies),
        as_codes(labels).reshape(-1, len(counter.findings)),
        Counter(mention_key(mention) for study in studies for mention in study.mentions),
    )
