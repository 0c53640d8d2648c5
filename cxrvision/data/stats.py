"""What a data set holds: images, studies, patients, and labels by finding and by group.

The tables that data-set papers print. Labels belong to studies, and so do the groups: a study has
the view position of its first frontal image, and the age, sex, site and split of its first image.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.audit.intervals import wilson
from cxrlabel.errors import InputError
from cxrlabel.findings import BLANK, NEGATIVE, NO_FINDING, POSITIVE, SUPPORT_DEVICES, UNCERTAIN
from cxrvision.data.views import ALL_VIEWS, FRONTAL, LATERAL

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from cxrvision.data.manifest import Manifest

NOT_STATED: Final = "not stated"
OTHERS: Final = "others"
GROUPS: Final = ("views", "view_position", "sex", "age", "site", "scanner", "split")
# neither a normal study nor a device is an abnormality: left out of the findings per study
NOT_COUNTED: Final = (NO_FINDING, SUPPORT_DEVICES)

_CODES: Final = {POSITIVE: 1.0, UNCERTAIN: -1.0, NEGATIVE: 0.0}
_AGE_ENDS: Final = (18, 40, 60, 80)
_MOST_GROUPS: Final = 8  # of one kind; smaller ones are joined


@dataclass(frozen=True, slots=True)
class FindingCounts:
    """One finding over the labeled studies. Values that divide by zero are None."""

    finding: str
    counts: Mapping[str, int]  # positive, uncertain, negative, blank -> studies
    shares: Mapping[str, float | None]  # of the labeled studies
    interval: tuple[float, float] | None  # Wilson 95 % interval of the share of positives
    negatives_per_positive: float | None  # stated negatives only
    others_per_positive: float | None  # negatives, uncertain and blank


@dataclass(frozen=True, slots=True)
class Group:
    """The studies that share a value."""

    name: str
    images: int
    studies: int
    patients: int
    labeled: int  # studies
    positives: Mapping[str, int]  # finding -> studies
    shares: Mapping[str, float | None]  # of the labeled studies of the group


@dataclass(frozen=True, slots=True)
class DataStatistics:
    """What a data set holds."""

    images: int
    studies: int
    patients: int
    labeled: int  # studies with images and labels
    unlabeled: int  # studies with images only
    without_images: int  # studies with labels only
    images_by_view: Mapping[str, int]
    images_per_study: tuple[int, ...]  # studies by their number of images, from 1
    age: Mapping[str, float | None]  # known, mean, sd, quartiles; of studies, in years
    findings: tuple[FindingCounts, ...]
    cardinality: float | None  # positive findings per labeled study, without NOT_COUNTED
    density: float | None  # the same as a share of the findings
    label_sets: int  # different sets of positive findings
    findings_per_study: tuple[int, ...]  # labeled studies by their number, from 0
    positives_together: tuple[tuple[int, ...], ...]  # [F, F] studies positive for both
    share_together: tuple[tuple[float | None, ...], ...]  # of the positives of the row
    groups: Mapping[str, tuple[Group, ...]]  # kind of group -> its groups

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def data_statistics(manifest: Manifest, labels: pd.DataFrame | None = None) -> DataStatistics:
    """Count a data set.

    Args:
        manifest: its images.
        labels: index study id, a column per finding: 1, 0, -1, NaN (`cxrlabel.tables.read_labels`).

    Raises:
        InputError: no id of the labels is a study of the manifest.
    """
    import pandas as pd

    images = manifest.table
    studies = _studies(images)
    if labels is None:
        labels = pd.DataFrame(index=pd.Index([], dtype="str"))
    known = labels.index[labels.index.isin(studies.index)]
    if len(labels) and not len(known):
        raise InputError(
            f"{manifest.place}: no id of the labels is a study here: "
            f"{labels.index[0]!r} there, {studies.index[0]!r} here"
        )
    used = labels.loc[known]
    values = used.to_numpy(np.float64)
    positive = values == 1
    names = list(used.columns)
    counted = [name not in NOT_COUNTED for name in names]
    per_study = positive[:, counted].sum(axis=1)
    has_labels = bool(len(used) and names)
    together = positive.T.astype(np.int64) @ positive
    return DataStatistics(
        images=len(images),
        studies=len(studies),
        patients=studies["patient_id"].nunique(),
        labeled=len(used),
        unlabeled=len(studies) - len(used),
        without_images=len(labels) - len(used),
        images_by_view={view: int((images["view"] == view).sum()) for view in ALL_VIEWS},
        images_per_study=tuple(np.bincount(studies["images"])[1:].tolist()),
        age=_age_summary(studies["age_years"].to_numpy(np.float64)),
        findings=tuple(_finding(name, values[:, i]) for i, name in enumerate(names)),
        cardinality=float(per_study.mean()) if has_labels else None,
        density=float(per_study.mean() / max(1, sum(counted))) if has_labels else None,
        label_sets=len(np.unique(positive, axis=0)) if has_labels else 0,
        findings_per_study=tuple(np.bincount(per_study).tolist()) if has_labels else (),
        positives_together=tuple(map(tuple, together.tolist())),
        share_together=tuple(
            tuple(_ratio(count, int(together[i, i])) for count in row)
            for i, row in enumerate(together.tolist())
        ),
        groups={kind: _groups(studies, kind, used == 1) for kind in GROUPS},
    )


def _studies(images: pd.DataFrame) -> pd.DataFrame:
    """A row for each study: patient, number of images, and the value of each kind of group."""
    import pandas as pd

    # the first frontal image of a study, or else its first image
    order = (images["view"] != FRONTAL).to_numpy().argsort(kind="stable")
    first = images.iloc[order].drop_duplicates("study_id").set_index("study_id").sort_index()
    by_study = images.groupby("study_id")
    seen = {
        view: (images["view"] == view).groupby(images["study_id"]).any()
        for view in (FRONTAL, LATERAL)
    }
    studies = pd.DataFrame({
        "patient_id": first["patient_id"],
        "images": by_study.size(),
        "views": [_views(*both) for both in zip(seen[FRONTAL], seen[LATERAL], strict=True)],
        "age_years": by_study["age"].first(),
    })  # fmt: skip
    for kind in ("view_position", "sex", "site", "scanner", "split"):
        studies[kind] = first[kind].mask(first[kind] == "", NOT_STATED)
    studies["age"] = [_band(age) for age in studies["age_years"]]
    return studies


def _views(frontal: bool, lateral: bool) -> str:
    if frontal and lateral:
        return "frontal + lateral"
    return "frontal alone" if frontal else "lateral alone" if lateral else "neither"


def _band(age: float) -> str:
    if math.isnan(age):
        return NOT_STATED
    starts = (0, *_AGE_ENDS)
    place = sum(age >= end for end in _AGE_ENDS)
    return f"{starts[place]} to {_AGE_ENDS[place] - 1}" if place < len(_AGE_ENDS) else "80 or more"


def _age_summary(ages: NDArray[np.float64]) -> dict[str, float | None]:
    known = ages[~np.isnan(ages)]
    names = ("mean", "sd", "lower_quartile", "median", "upper_quartile")
    if not len(known):
        return {"known": 0, **dict.fromkeys(names)}
    sd = known.std(ddof=1) if len(known) > 1 else 0.0
    numbers = (known.mean(), sd, *np.percentile(known, (25, 50, 75)))
    return {"known": len(known)} | {
        name: float(number) for name, number in zip(names, numbers, strict=True)
    }


def _finding(name: str, values: NDArray[np.float64]) -> FindingCounts:
    counts = {state: int((values == code).sum()) for state, code in _CODES.items()}
    counts[BLANK] = int(np.isnan(values).sum())
    n = len(values)
    positives = counts[POSITIVE]
    return FindingCounts(
        finding=name,
        counts=counts,
        shares={state: _ratio(count, n) for state, count in counts.items()},
        interval=_interval(positives, n),
        negatives_per_positive=_ratio(counts[NEGATIVE], positives),
        others_per_positive=_ratio(n - positives, positives),
    )


def _groups(studies: pd.DataFrame, kind: str, positive: pd.DataFrame) -> tuple[Group, ...]:
    """The groups of a kind, largest first but for ages; many small ones are joined."""
    sizes = studies[kind].value_counts()
    names = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    if kind == "age":
        names.sort(
            key=lambda name: (name == NOT_STATED, int(name.split()[0]) if name[0].isdigit() else 0)
        )
    parts = {name: studies.index[studies[kind] == name] for name in names[:_MOST_GROUPS]}
    rest = names[_MOST_GROUPS:]
    if rest:
        parts[f"{len(rest)} {OTHERS}"] = studies.index[studies[kind].isin(rest)]
    return tuple(_group(name, studies.loc[ids], positive) for name, ids in parts.items())


def _group(name: str, studies: pd.DataFrame, positive: pd.DataFrame) -> Group:
    labeled = positive.loc[positive.index.isin(studies.index)]
    counts = {str(finding): int(count) for finding, count in labeled.sum().items()}
    return Group(
        name=name,
        images=int(studies["images"].sum()),
        studies=len(studies),
        patients=studies["patient_id"].nunique(),
        labeled=len(labeled),
        positives=counts,
        shares={finding: _ratio(count, len(labeled)) for finding, count in counts.items()},
    )


def _interval(count: int, n: int) -> tuple[float, float] | None:
    if n == 0:
        return None
    low, high = wilson(count / n, n)
    return float(low), float(high)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def percent(share: float | None) -> str:
    """A share as "12.3%", or a dash."""
    return "–" if share is None else f"{share:.1%}"


def one_to(ratio: float | None) -> str:
    """A ratio as "1 : 4.2", or a dash where one side is empty."""
    if not ratio:
        return "–"
    return f"1 : {ratio:,.0f}" if ratio >= 100 else f"1 : {ratio:.{1 if ratio >= 1 else 2}f}"


def write_statistics(
    statistics: DataStatistics, path: Path, *, inputs: Sequence[Path], force: bool = False
) -> None:
    """Write statistics as JSON or as a page with plots; the ending decides.

    Args:
        statistics: what was counted.
        path: .json or .html.
        inputs: the files that were read; the page names them, without their folders.
        force: replace a file.

    Raises:
        InputError: another ending, or the file is there.
    """
    from cxrlabel.writers import atomic_path
    from cxrvision.data.stats_page import stats_page

    if statistics_kind(path) == ".json":
        content = json.dumps(statistics.to_dict(), ensure_ascii=False, indent=2) + "\n"
    else:
        content = stats_page(statistics, inputs=[file.name for file in inputs])
    with atomic_path(path, force=force) as temporary:
        temporary.write_text(content, encoding="utf-8")


def statistics_kind(path: Path) -> str:
    """The format that a statistics file's ending asks for: ".json" or ".html"."""
    kind = path.suffix.lower()
    if kind not in (".json", ".html"):
        raise InputError(f"{path}: unknown kind of statistics file; expected .json or .html")
    return kind
