"""Fit the distributions of the sandbox's simulated week, and print how good each fit is.

    python examples/higgs/fit.py higgs-activity_time.txt.gz

Three things are fitted by maximum likelihood to an activity file: how many interactions a target
receives, how they fade with the hours since its first one, and the rhythm of the day. The best
fits' parameters are the named constants of `openengagement/sandbox/simulate.py`.

Every candidate is an exponential family p(k) ~ exp(offset(k) + sum_i theta_i x_i(k)), apart from at
most one shape parameter that is searched on a grid. Its likelihood has one maximum, which Newton's
method finds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from openengagement.sandbox.higgs import read_higgs

Floats = npt.NDArray[np.float64]

HOUR_S = 3600
DAY_HOURS = 24
# The simulated week shows the busy end of the file: targets with at least this many interactions.
TAIL_FROM = 12
SUPPORT_MAX = 100_000
FOLLOW_HOURS = 48
NEWTON_STEPS = 200


@dataclass(frozen=True)
class Fit:
    """A fitted family: parameters, log-likelihood, free parameters, Kolmogorov-Smirnov distance."""

    name: str
    parameters: dict[str, float]
    log_likelihood: float
    free: int
    distance: float

    def line(self, best: float) -> str:
        """Return one table line; the information criterion is shown as distance from the best."""
        shown = ", ".join(f"{key}={value:.4f}" for key, value in self.parameters.items())
        worse = 2 * self.free - 2 * self.log_likelihood - best
        return f"  {self.name:<28} AIC +{worse:<9.1f} KS {self.distance:.4f}  {shown}"


def fit_family(counts: Floats, features: Floats, *, offset: Floats) -> tuple[Floats, float, float]:
    """Fit theta; return it with the log-likelihood and the KS distance.

    Shapes: counts and offset (groups, K), features (parameters, K). Each group is a multinomial of
    its own with the same theta, so groups may differ in size and in offset.
    """
    scale = np.abs(features).max(axis=1, keepdims=True)
    x = features / scale
    sizes = counts.sum(axis=1, keepdims=True)
    target = (counts @ x.T).sum(axis=0)

    def evaluate(theta: Floats) -> tuple[float, Floats]:
        weights = offset + theta @ x
        top = weights.max(axis=1, keepdims=True)
        log_p = weights - top - np.log(np.exp(weights - top).sum(axis=1, keepdims=True))
        return float((counts * log_p).sum()), np.exp(log_p)

    theta = np.zeros(len(x))
    value, p = evaluate(theta)
    for _ in range(NEWTON_STEPS):
        means = p @ x.T
        hessian = np.einsum("g,gk,ik,jk->ij", sizes[:, 0], p, x, x, optimize=True)
        hessian -= (means * sizes).T @ means
        step = np.linalg.solve(hessian, target - (means * sizes).sum(axis=0))
        length = 1.0
        while (found := evaluate(theta + length * step))[0] < value and length > 1e-12:
            length /= 2
        theta = theta + length * step
        gain, (value, p) = found[0] - value, found
        if abs(gain) < 1e-9 * abs(value) and length == 1.0:
            break
    observed = counts.sum(axis=0).cumsum() / sizes.sum()
    expected = (p * sizes).sum(axis=0).cumsum() / sizes.sum()
    return theta / scale[:, 0], value, float(np.abs(observed - expected).max())


def fit_sizes(sizes: Floats, smallest: int) -> list[Fit]:
    """Fit the interactions of each target (shape: targets) that has at least `smallest`."""
    n = np.arange(smallest, SUPPORT_MAX + 1, dtype=np.float64)
    kept = sizes[sizes >= smallest].astype(np.int64) - smallest
    counts = np.bincount(kept, minlength=n.size).astype(np.float64)[None, :]
    none = np.zeros_like(counts)
    log_n = np.log(n)
    candidates = {
        "power law": np.stack([-log_n]),
        "power law with cutoff": np.stack([-log_n, -n]),
        "log-normal": np.stack([-log_n, -(log_n**2)]),
    }
    fits = []
    for name, features in candidates.items():
        theta, value, distance = fit_family(counts, features, offset=none)
        # exp(-a log n - b log^2 n) is a log-normal where b > 0: sigma^2 = 1/2b, mu = (1 - a)/2b.
        names = ("a", "b") if name == "log-normal" else ("alpha", "1/cutoff")
        parameters = {key: float(value) for key, value in zip(names, theta, strict=False)}
        if "1/cutoff" in parameters:
            parameters["cutoff"] = 1 / parameters.pop("1/cutoff")
        fits.append(Fit(name, parameters, value, len(theta), distance))
    return fits


def bootstrap_distances(fit: Fit, size: int, *, rounds: int) -> Floats:
    """Fit samples drawn from the cut-off power law `fit` itself; return their KS distances.

    The share of them above the file's own distance is the p-value of the fit: the distance that a
    sample of `size` targets shows by chance, its own fitting included (shape: rounds).
    """
    rng = np.random.default_rng(1)
    n = np.arange(TAIL_FROM, SUPPORT_MAX + 1, dtype=np.float64)
    law = np.cumsum(n ** -fit.parameters["alpha"] * np.exp(-n / fit.parameters["cutoff"]))
    distances = []
    for _ in range(rounds):
        drawn = TAIL_FROM + np.searchsorted(law, rng.random(size) * law[-1], side="right")
        again = {one.name: one for one in fit_sizes(drawn.astype(np.float64), TAIL_FROM)}
        distances.append(again[fit.name].distance)
    return np.array(distances)


def fit_rhythm(rows: pl.DataFrame) -> tuple[float, float, float]:
    """Fit exp(amplitude * cos(2 pi (hour - peak) / 24)) to the hours well after the busiest one.

    They begin a day after it. Each hour is divided by the mean of the day around it, which removes
    the week's slow decline. Returns amplitude, peak (hour of day, UTC) and the share of variance
    explained.
    """
    hours = (rows["at"] // HOUR_S).to_numpy()
    volume = np.bincount(hours - hours.min()).astype(np.float64)
    first = int(volume.argmax()) + DAY_HOURS
    around = np.ones(DAY_HOURS + 1)
    around[[0, -1]] = 0.5
    half = DAY_HOURS // 2
    level = np.convolve(volume, around / DAY_HOURS, mode="same")
    used = np.arange(first, volume.size - half)
    log_ratio = np.log(volume[used] / level[used])
    angle = 2 * np.pi * ((hours.min() + used) % DAY_HOURS + 0.5) / DAY_HOURS
    design = np.stack([np.ones(used.size), np.cos(angle), np.sin(angle)], axis=1)
    solution, residual, _, _ = np.linalg.lstsq(design, log_ratio, rcond=None)
    peak = float(np.arctan2(solution[2], solution[1]) * DAY_HOURS / (2 * np.pi)) % DAY_HOURS
    explained = 1 - float(residual[0]) / float(((log_ratio - log_ratio.mean()) ** 2).sum())
    return float(np.hypot(solution[1], solution[2])), peak, explained


def followed(rows: pl.DataFrame) -> Floats:
    """Count interactions by hour of day of the first and hours since it (24, FOLLOW_HOURS).

    Only targets first seen after the file's busiest hour, with a full follow-up left and TAIL_FROM
    interactions or more: before it, the announcement itself arrives late and hides how a single
    target fades. The first interaction is left out, since its age is nought by definition.
    """
    hour = pl.col("at") // HOUR_S
    busiest = rows.group_by(hour.alias("hour")).len().sort("len", "hour")["hour"][-1]
    last_s = rows.select(pl.col("at").max()).item()
    first_s = pl.col("at").min().over("target")
    kept = rows.with_columns(first_s.alias("first"), pl.len().over("target").alias("n")).filter(
        pl.col("first") // HOUR_S > busiest,
        pl.col("first") + FOLLOW_HOURS * HOUR_S <= last_s,
        pl.col("n") >= TAIL_FROM,
    )
    repeats = kept.filter(pl.int_range(pl.len()).over("target", order_by="at") > 0)
    age = ((repeats["at"] - repeats["first"]) // HOUR_S).to_numpy()
    start = (repeats["first"] // HOUR_S % DAY_HOURS).to_numpy()
    counts = np.zeros((DAY_HOURS, FOLLOW_HOURS))
    inside = age < FOLLOW_HOURS
    np.add.at(counts, (start[inside], age[inside]), 1)
    return counts


def fit_decay(counts: Floats, *, amplitude: float, peak: float) -> list[Fit]:
    """Fit how interactions fade with age in whole hours, the rhythm of the day allowed for."""
    start = np.arange(len(counts))[:, None]
    age = np.arange(counts.shape[1], dtype=np.float64)
    offset = amplitude * np.cos(2 * np.pi * (start + age + 0.5 - peak) / DAY_HOURS)
    log_age = np.log(age + 0.5)
    fits = []
    for name, grid, build in (
        ("shifted power law", np.arange(0.05, 5, 0.05), lambda s: [-np.log(age + s)]),
        ("shifted power law, cutoff", np.arange(0.05, 5, 0.05), lambda s: [-np.log(age + s), -age]),
        ("stretched exponential", np.arange(0.05, 1.01, 0.01), lambda s: [-((age + 0.5) ** s)]),
        ("log-normal", (0.5,), lambda _: [-log_age, -(log_age**2)]),
    ):
        tried = [(fit_family(counts, np.stack(build(s)), offset=offset), float(s)) for s in grid]
        (theta, value, distance), shape = max(tried, key=lambda one: one[0][1])
        parameters = {"shape": shape} | {f"theta{i}": float(t) for i, t in enumerate(theta)}
        fits.append(Fit(name, parameters, value, len(theta) + (len(grid) > 1), distance))
    return fits


def show(title: str, fits: list[Fit]) -> None:
    """Print a table of candidates, the best first."""
    fits = sorted(fits, key=lambda fit: 2 * fit.free - 2 * fit.log_likelihood)
    best = 2 * fits[0].free - 2 * fits[0].log_likelihood
    print(title, *(fit.line(best) for fit in fits), sep="\n")


def main() -> None:
    """Read the file named on the command line and print every fit."""
    parser = argparse.ArgumentParser(description="Fit the sandbox's constants to an activity file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--bootstrap", type=int, default=0, metavar="ROUNDS")
    arguments = parser.parse_args()
    rows = read_higgs(arguments.file)
    sizes = rows.group_by("target").len()["len"].to_numpy().astype(np.float64)
    fits: list[Fit] = []
    for smallest in (1, 2, TAIL_FROM):
        kept = sizes[sizes >= smallest]
        fits = fit_sizes(sizes, smallest)
        show(
            f"interactions of targets with {smallest} or more: {kept.size} targets, "
            f"mean {kept.mean():.2f}, most {kept.max():.0f}",
            fits,
        )
    if arguments.bootstrap:
        tail = next(fit for fit in fits if fit.name == "power law with cutoff")
        by_chance = bootstrap_distances(
            tail, int((sizes >= TAIL_FROM).sum()), rounds=arguments.bootstrap
        )
        print(
            f"cut-off power law: KS {tail.distance:.4f}, by chance {np.median(by_chance):.4f} "
            f"(95%: {np.quantile(by_chance, 0.95):.4f}), "
            f"p={(by_chance >= tail.distance).mean():.3f}"
        )
    busy = rows.filter(pl.len().over("target") >= TAIL_FROM)
    kinds = busy["kind"].value_counts(normalize=True).sort("kind")
    print("kinds among those of the last table:", dict(kinds.iter_rows()))
    amplitude, peak, explained = fit_rhythm(rows)
    print(f"rhythm: amplitude={amplitude:.4f}, peak={peak:.2f} h UTC, R2={explained:.3f}")
    counts = followed(rows)
    show(
        f"hours since the first interaction, {counts.sum():.0f} of them within {FOLLOW_HOURS} h",
        fit_decay(counts, amplitude=amplitude, peak=peak),
    )
    show("the same without the rhythm", fit_decay(counts, amplitude=0.0, peak=0.0))


if __name__ == "__main__":
    main()
