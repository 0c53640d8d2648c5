"""Do the intervals that know label error hold the truth? Invented test sets, audited many times.

Test sets of 8,000 studies with a finding of prevalence 1 to 40 %, labels that are wrong, and a
model of true AUC .88 are audited by our own design or at random, and measured as `cxr evaluate
--manual` does. Errors are class-conditional, or follow the model's score given the truth. Beside
our estimates stands the naive one: truths drawn from P(truth | state), and the AUC recomputed.

    uv run python benchmarks/coverage.py --workers 2 --page docs/noise.md
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from audited_population import THRESHOLD, Data, Setting, simulate, true_values
from pages import renew_part

from cxrvision.evaluate.auc import auc
from cxrvision.evaluate.audit_measures import AuditMeasures, measure_audit
from cxrvision.evaluate.estimates import UNDEFINED, Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MARK: Final = "<!-- made by benchmarks/coverage.py -->"
SHARES: Final = ("sensitivity", "specificity", "ppv", "npv", "prevalence")
DRAWS: Final = 1_000
NAIVE: Final = 20  # draws of truths
SETTINGS: Final = (
    *(
        Setting(prevalence, n, design, slope, patients)
        for prevalence, n, design, patients in (
            (0.01, 400, "states", False),
            (0.01, 1000, "states", False),
            (0.05, 200, "states", False),
            (0.05, 400, "states", False),
            (0.05, 400, "states", True),
            (0.05, 1000, "simple", False),
            (0.15, 200, "states", False),
            (0.15, 200, "simple", False),
            (0.15, 400, "states", False),
            (0.15, 400, "states", True),
            (0.4, 100, "states", False),
            (0.4, 1000, "states", False),
        )
        for slope in (0.0, 1.0)
    ),
    # errors that follow the score less
    Setting(0.15, 400, "states", 0.5),
    Setting(0.4, 1000, "states", 0.5),
)
# never looked at before the constants of the intervals were chosen
HELD_OUT: Final = tuple(
    Setting(prevalence, n, design, slope)
    for prevalence, n, design in (
        (0.02, 2000, "simple"),
        (0.03, 800, "states"),
        (0.1, 500, "simple"),
        (0.25, 300, "states"),
    )
    for slope in (0.0, 1.0)
)


def main() -> None:
    """Measure, count, print the tables and write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--page", type=Path, help="the page to write the tables into, at its mark")
    args = parser.parse_args()
    start = time.perf_counter()
    text = tables(run((*SETTINGS, *HELD_OUT), args.runs, args.workers))
    minutes = (time.perf_counter() - start) / 60
    text += (
        f"\n\n{args.runs:,} data sets of each row, {DRAWS:,} draws for an interval of a share; "
        f"{minutes:.0f} min with {args.workers} process(es) on a busy machine; Python "
        f"{platform.python_version()}, numpy {np.__version__}.\n"
    )
    print(text)
    if args.page:
        renew_part(args.page, MARK, text)


def measure(data: Data, rng: np.random.Generator) -> dict[str, float]:
    """All that is counted of one data set."""
    found = measure_audit(
        data.probs,
        data.states,
        data.label,
        data.sampled,
        reference="image",
        threshold=1 / (1 + np.exp(-THRESHOLD)),
        patients=data.patients,
        draws=DRAWS,
    ).measures
    row = {
        "events": found.auc_audited_events,
        "positives": float(found.auc_audited_positives),
        "refused": float(found.auc_audited_refused is not None),
        "withheld": float(found.correction_withheld is not None),
    }
    for name, value in measured(found).items():
        row |= {f"{name}": value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    naive = draw_truths(data, rng)
    return row | {"naive": naive.value, "naive_low": naive.low, "naive_high": naive.high}


def measured(found: AuditMeasures) -> dict[str, Measure]:
    """The intervals, by name."""
    names = {
        "auc audited": found.auc_audited,
        "auc robust": found.auc_doubly_robust,
        "auc corrected": found.auc_corrected,
        "prevalence rogan-gladen": found.prevalence_rogan_gladen,
    }
    for share in SHARES:
        names[f"{share} audited"] = getattr(found, f"{share}_audited")
        names[f"{share} robust"] = getattr(found, f"{share}_doubly_robust")
    return names


def draw_truths(data: Data, rng: np.random.Generator) -> Measure:
    """What is not to be done: truths from P(truth | state), and the AUC against them."""
    sampled, studies = data.sampled, len(data.probs)
    state = np.nan_to_num(data.states, nan=-2.0)
    chance = np.zeros(studies)
    for value in np.unique(state):
        inside = state[sampled.rows] == value
        weights = sampled.weights[inside]
        yes = (
            float(weights[sampled.truth[inside]].sum()) + weights.mean() / 2 if len(weights) else 0
        )
        whole = float(weights.sum()) + weights.mean() if len(weights) else 1
        number = inside.sum() + 1
        share = yes / whole
        alpha, beta = max(share * number, 1e-3), max((1 - share) * number, 1e-3)
        chance[state == value] = rng.beta(alpha, beta)
    ranks = np.empty(studies)
    ranks[np.argsort(data.probs)] = np.arange(1, studies + 1)  # no two scores are equal
    drawn = rng.random((NAIVE, studies)) < chance
    positives = drawn.sum(axis=1)
    sums = drawn @ ranks - positives * (positives + 1) / 2
    known = (sums / np.maximum(positives * (studies - positives), 1))[positives > 0]
    if not len(known):
        return UNDEFINED
    return Measure(float(known.mean()), *map(float, np.quantile(known, (0.025, 0.975))))


def batch(part: tuple[Setting, Sequence[int]]) -> list[dict[str, float]]:
    """The data sets of some seeds."""
    setting, seeds = part
    rows = []
    for seed in seeds:
        key = [20261129, seed, round(1000 * setting.prevalence), setting.n]
        rng = np.random.default_rng([*key, int(10 * setting.slope), setting.patients])
        rows.append(measure(simulate(setting, rng), rng))
    return rows


def run(settings: Sequence[Setting], runs: int, workers: int) -> dict[Setting, dict[str, Floats]]:
    """For each setting the numbers of all data sets."""
    size = 50
    parts = [(s, range(a, min(a + size, runs))) for s in settings for a in range(0, runs, size)]
    if workers == 1:
        found = list(map(batch, parts))
    else:
        with ProcessPoolExecutor(workers) as pool:
            found = list(pool.map(batch, parts))
    rows: dict[Setting, list[dict[str, float]]] = {s: [] for s in settings}
    for (setting, _), some in zip(parts, found, strict=True):
        rows[setting] += some
    return {s: {k: np.array([r[k] for r in some]) for k in some[0]} for s, some in rows.items()}


# the tables


def tables(found: dict[Setting, dict[str, Floats]]) -> str:
    """The page's part."""
    return "\n\n".join(
        [
            "AUC: coverage of the 95 % interval in %, mean width, bias. The true AUC is .88. Data "
            "with * were never looked at before the constants of the intervals were chosen.",
            markdown(
                ["data", "events", "audited", "doubly robust", "truths drawn", "refused"],
                [auc_row(s, n) for s, n in found.items()],
            ),
            "The class-conditional correction: what it would be off by in a large sample, the half "
            "width of the audited interval, how often it is withheld, coverage where it is shown.",
            markdown(
                ["data", "off by", "half width", "visible", "withheld %", "coverage"],
                [corrected_row(s, n) for s, n in found.items()],
            ),
            "Shares at a threshold: coverage, design-based / doubly robust, with mean widths.",
            markdown(
                ["data", *SHARES, "Rogan–Gladen"], [share_row(s, n) for s, n in found.items()]
            ),
        ]
    )


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all but the first column to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def title(setting: Setting) -> str:
    """A setting in words."""
    patients = ", patients" if setting.patients else ""
    data = f"{100 * setting.prevalence:g} %, {setting.n:,} {setting.design}{patients}"
    return f"{data}; {setting.error}{' *' if setting in HELD_OUT else ''}"


def shown(value: float, digits: int = 0) -> str:
    """A number, or a dash where no interval is there."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def coverage(numbers: dict[str, Floats], name: str, true: float) -> tuple[float, float, float]:
    """Coverage in %, mean width and bias of the intervals that there are."""
    low, high, value = numbers[f"{name}_low"], numbers[f"{name}_high"], numbers[name]
    known = np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return np.nan, np.nan, np.nan
    inside = (low[known] <= true) & (true <= high[known])
    width = float((high - low)[known].mean())
    return 100 * float(inside.mean()), width, float(value[known].mean() - true)


def auc_row(setting: Setting, numbers: dict[str, Floats]) -> list[str]:
    """A row of the first table."""
    cells = [title(setting), f"{np.nanmean(numbers['events']):.0f}"]
    for name in ("auc audited", "auc robust", "naive"):
        held, width, bias = coverage(numbers, name, true_values(setting)["auc"])
        cells.append(f"{held:.1f}, {width:.3f}, {bias:+.3f}")
    return [*cells, f"{100 * numbers['refused'].mean():.0f} %"]


def corrected_row(setting: Setting, numbers: dict[str, Floats]) -> list[str]:
    """A row of the second table."""
    off = large_sample_bias(setting)
    half = coverage(numbers, "auc audited", 0.0)[1] / 2
    held, _, _ = coverage(numbers, "auc corrected", true_values(setting)["auc"])
    return [
        title(setting),
        f"{off:+.3f}",
        f"{half:.3f}",
        "yes" if abs(off) > half else "",
        f"{100 * numbers['withheld'].mean():.1f}",
        shown(held, 1),
    ]


def large_sample_bias(setting: Setting) -> float:
    """What the correction is off by where nothing is uncertain."""
    rng = np.random.default_rng(1)
    data = simulate(Setting(setting.prevalence, 100, "simple", setting.slope), rng, 400_000)
    kept = ~np.isnan(data.label)
    label, truth = data.label[kept] == 1, data.truth[kept]
    gain = truth[label].mean() - truth[~label].mean()  # PPV + NPV - 1
    of_labels = auc(data.probs[kept], label)
    return float(0.5 + (of_labels - 0.5) / gain - true_values(setting)["auc"])


def share_row(setting: Setting, numbers: dict[str, Floats]) -> list[str]:
    """A row of the third table."""
    true = true_values(setting)
    cells = [title(setting)]
    for share in SHARES:
        held = [coverage(numbers, f"{share} {kind}", true[share]) for kind in ("audited", "robust")]
        covers, widths = (
            " / ".join(shown(kind[place], digits) for kind in held)
            for place, digits in ((0, 0), (1, 3))
        )
        cells.append(f"{covers}, {widths}")
    held = coverage(numbers, "prevalence rogan-gladen", true["prevalence"])
    return [*cells, f"{held[0]:.0f}, {held[1]:.3f}"]


if __name__ == "__main__":
    main()
