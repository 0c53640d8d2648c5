"""Montgomery County and Shenzhen (Jaeger et al. 2014): PNG files, and a reading of each as text.

MCUCXR_0001_0.png has its reading in ClinicalReadings/MCUCXR_0001_0.txt: sex, age, and what was
seen. The last digit of the name says normal (0) or tuberculosis (1). Masks of lungs are images of
the same names in other folders; they are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import NO_FINDING
from cxrvision.data.datasets.sources import Indexed, manifest_columns, read_ages, read_sexes
from cxrvision.data.files import list_images, named

if TYPE_CHECKING:
    import pandas as pd

MONTGOMERY: Final = "MCUCXR"
SHENZHEN: Final = "CHNCXR"

_NAME: Final = r"^(?:MCU|CHN)CXR_\d+_([01])$"
_MASK: Final = re.compile(r"(^|/)[^/]*mask[^/]*(/|$)", re.IGNORECASE)
# "Patient's Sex: F" and "Patient's Age: 027Y" (Montgomery), "male 45yrs" (Shenzhen)
_SEX: Final = re.compile(r"\b(female|male|f|m)\b", re.IGNORECASE)
_AGE: Final = re.compile(r"\b(\d{1,3})\s*(y|m|d|w)", re.IGNORECASE)


def looks_like_montgomery(root: Path) -> bool:
    """Whether images of this set are here, in the folder or down to two below it."""
    return _has_images(root, MONTGOMERY)


def looks_like_shenzhen(root: Path) -> bool:
    """Whether images of this set are here, in the folder or down to two below it."""
    return _has_images(root, SHENZHEN)


def index_montgomery(root: Path) -> Indexed:
    """The manifest and the labels of the Montgomery set; all images are PA."""
    return _index(root, MONTGOMERY, site="Montgomery", position="PA")


def index_shenzhen(root: Path) -> Indexed:
    """The manifest and the labels of the Shenzhen set; PA or AP is not said of its images."""
    return _index(root, SHENZHEN, site="Shenzhen", position="")


def _has_images(root: Path, prefix: str) -> bool:
    depths = ("", "*/", "*/*/")
    return any(next(root.glob(f"{depth}{prefix}_*.png"), None) for depth in depths)


def _index(root: Path, prefix: str, *, site: str, position: str) -> Indexed:
    files = list_images(root)
    ours = files["stem"].str.startswith(f"{prefix}_")
    masks = files["path"].map(lambda path: bool(_MASK.search(path))).astype(bool)
    rows = files[ours & ~masks].reset_index(drop=True)
    normal = rows["stem"].str.extract(_NAME, expand=False)
    odd = normal.isna()
    if rows.empty or odd.all():
        raise InputError(f"{root}: no images {prefix}_0001_0.png here")
    notes = [f"{int((ours & masks).sum()):,} masks are left out"] if (ours & masks).any() else []
    if odd.any():
        names = named(rows.loc[odd, "path"])
        notes.append(f"{int(odd.sum()):,} images whose name ends neither in 0 nor 1: {names}")
    readings = _read_readings(root, prefix)
    texts = rows["stem"].map(lambda stem: readings.get(stem, "")).astype("str")
    missing = texts == ""
    if missing.any():
        notes.append(
            f"{int(missing.sum()):,} images have no reading: {named(rows.loc[missing, 'name'])}"
        )
    without = sorted(set(readings) - set(rows["stem"]))
    if without:
        notes.append(f"{len(without):,} readings have no image: {named(without)}; left out")
    heads = texts.map(_head)
    ages, odd_ages = read_ages(heads.map(_age).astype("str"))
    images = manifest_columns(
        rows,
        image_id=rows["stem"],
        study_id=rows["stem"],
        patient_id=rows["stem"],
        view="frontal",
        view_position=position,
        site=site,
        age=ages,
        sex=read_sexes(heads.map(_sex).astype("str")),
    )
    labels = _labels(rows["stem"], normal)
    notes += [*odd_ages, "tuberculosis is no finding of ours: the labels say No Finding alone"]
    return Indexed(images, labels, notes)


def _read_readings(root: Path, prefix: str) -> dict[str, str]:
    paths = sorted(path for path in root.rglob(f"{prefix}_*.txt") if not path.name.startswith("."))
    return {path.stem: path.read_text(encoding="utf-8", errors="replace") for path in paths}


def _head(text: str) -> str:
    """The lines on the patient: those before the reading itself."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    patient = [line for line in lines if line.lower().startswith("patient")]
    return "; ".join(patient or lines[:1])


def _sex(head: str) -> str:
    found = _SEX.search(head.replace("Patient's Sex", ""))
    return found.group(1) if found else ""


def _age(head: str) -> str:
    found = _AGE.search(head)
    return f"{found.group(1)}{found.group(2)}" if found else ""


def _labels(studies: pd.Series[str], abnormal: pd.Series[str]) -> pd.DataFrame:
    import pandas as pd

    states = abnormal.map({"0": 1.0, "1": 0.0}).astype("float64")
    return pd.DataFrame({NO_FINDING: states}).set_axis(studies.rename("study_id"))
