"""Metrics, on plain arrays, of how well single latent dimensions represent single known factors.

Codes are `[N, D]`, for example posterior means. Factors are `[N, K]`, integers such as shape, colour or size. All
scores lie between 0 and 1; larger is better. `sap` and `dci` need scikit-learn. Standard errors are those of
`resamples` bootstrap samples of the examples. Where a classifier is fitted, the examples for the fit and those for the
test are both resampled.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kvae.data.arrays import as_array
from kvae.data.support import LARGEST, REAL
from kvae.evaluate.estimates import Estimate
from kvae.numerics import arguments


def mutual_information_gap(codes, factors, bins: int = 20, seed: int = 0, resamples: int = 50) -> Estimate:
    """MIG: the mean over factors of (I_1 - I_2) / H(v), the gap between the two codes that tell most of the factor.

    Codes are cut into bins of equal width; I is the mutual information of the counts, in nats, H the entropy of the
    factor. A factor that never varies is left out.

    Args:
        codes, factors: arrays.
        bins: how many.
        seed, resamples: of the bootstrap.

    Reference: Chen, Li, Grosse, Duvenaud (2018), Isolating sources of disentanglement in VAEs, arXiv 1802.04942.
    """
    bins, seed, resamples = _numbers(seed, resamples, bins=(bins, 2))
    codes, factors = _checked(codes, factors)
    binned = [_binned(code, bins) for code in codes.T]

    def score(rows):
        gaps = []
        for factor in factors[rows].T:
            entropy = _information(factor, factor)
            if entropy > 0.0:
                told = sorted((_information(code[rows], factor) for code in binned), reverse=True)
                gaps.append((told[0] - (told[1] if len(told) > 1 else 0.0)) / entropy)
        return np.mean(gaps) if gaps else math.nan

    return _estimates(score, [np.arange(len(codes))], seed, resamples)[0]


def sap(codes, factors, seed: int = 0, resamples: int = 50) -> Estimate:
    """SAP: the mean over factors of the gap between the two codes that predict it best, each by itself.

    The score of a code is the balanced accuracy of a decision tree on the half of the data that it was not fitted to.
    The tree has one threshold less than the factor has values.

    Args:
        codes, factors: arrays.
        seed, resamples: of the halves and the bootstrap.

    Reference: Kumar, Sattigeri, Balakrishnan (2018), Variational inference of disentangled latent concepts from
    unlabeled observations, arXiv 1711.00848 (who use a linear classifier of one code, which a threshold is).
    """
    from sklearn.tree import DecisionTreeClassifier

    seed, resamples = _numbers(seed, resamples)

    codes, factors = _checked(codes, factors)
    varying = [(factor, np.unique(factor)) for factor in factors.T if len(np.unique(factor)) > 1]

    def accuracy(code, factor, values, fitted, held):
        tree = DecisionTreeClassifier(max_leaf_nodes=len(values), class_weight="balanced", random_state=0)
        right = tree.fit(code[fitted, None], factor[fitted]).predict(code[held, None]) == factor[held]
        return np.mean([right[factor[held] == value].mean() for value in np.unique(factor[held])])

    def score(*halves):
        gaps = []
        for factor, values in varying:
            scores = sorted((accuracy(code, factor, values, *halves) for code in codes.T), reverse=True)
            gaps.append(scores[0] - (scores[1] if len(scores) > 1 else 1.0 / len(values)))
        return np.mean(gaps)

    return _estimates(score, _halves(len(codes), seed), seed, resamples)[0]


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: 1 where every code matters for one factor only; codes are weighed by how much they matter.
        completeness: 1 where every factor needs one code only.
        informativeness: the mean accuracy with which the codes predict the factors, on data not fitted to.
    """

    disentanglement: Estimate
    completeness: Estimate
    informativeness: Estimate


def dci(codes, factors, seed: int = 0, trees: int = 50, resamples: int = 20) -> DCI:
    """DCI, with the importances R_jk of code j for factor k out of random forests.

    D_j = 1 - H(R_j. / sum R_j.) / log K, C_k = 1 - H(R_.k / sum R_.k) / log D. Factors that never vary are left out.

    Args:
        codes, factors: arrays.
        seed, resamples: of the halves, the forests and the bootstrap, each of whose samples takes new forests.
        trees: of a forest.

    Reference: Eastwood, Williams (2018), A framework for the quantitative evaluation of disentangled representations.
    """
    from sklearn.ensemble import RandomForestClassifier

    trees, seed, resamples = _numbers(seed, resamples, trees=(trees, 1))
    codes, factors = _checked(codes, factors)
    varying = [len(np.unique(factor)) > 1 for factor in factors.T]

    def score(fitted, held):
        columns, accuracies = [], []
        for factor in factors[:, varying].T:
            forest = RandomForestClassifier(trees, max_features=None, random_state=seed)
            forest.fit(codes[fitted], factor[fitted])
            columns.append(forest.feature_importances_)
            accuracies.append(forest.score(codes[held], factor[held]))
        importance = np.stack(columns, axis=1)  # [D, K]
        weight = importance.sum(axis=1) / importance.sum()
        return weight @ _purity(importance), _purity(importance.T).mean(), np.mean(accuracies)

    return DCI(*_estimates(score, _halves(len(codes), seed), seed, resamples))


def factor_vae_score(
    codes, factors, groups: int = 2000, size: int = 64, seed: int = 0, resamples: int = 20
) -> Estimate:
    """The FactorVAE score: the accuracy with which the code that varies least names the factor that was held fixed.

    A group of `size` examples shares the value of one factor. The code with the smallest variance in the group,
    relative to that over all examples, votes; codes of no variance do not. Each code stands for the factor it was
    seen with most often in the first half of the groups; the accuracy is that of the other half, with its binomial
    Monte Carlo error. The bootstrap error is too large where a value of a factor has less than a hundred examples.

    Args:
        codes, factors: arrays.
        groups, size: how many groups, of how many examples.
        seed, resamples: of the groups and the bootstrap.

    Reference: Kim, Mnih (2018), Disentangling by factorising, arXiv 1802.05983.
    """
    groups, size, seed, resamples = _numbers(seed, resamples, groups=(groups, 2), size=(size, 2))
    codes, factors = _checked(codes, factors)
    random = np.random.default_rng(seed)
    varying = [k for k, factor in enumerate(factors.T) if len(np.unique(factor)) > 1]

    def score(kept):
        z, v = codes[kept], factors[kept]
        variance = z.var(axis=0)
        varied = np.flatnonzero(variance > 1e-8 * variance.max())
        rows_of = [[np.flatnonzero(factor == value) for value in np.unique(factor)] for factor in v.T]
        votes = np.zeros((2, z.shape[1], v.shape[1]))
        for group in range(groups):
            k = varying[random.integers(len(varying))]
            rows = rows_of[k][random.integers(len(rows_of[k]))]
            some = z[random.choice(rows, size)][:, varied]
            votes[group % 2, varied[np.argmin(some.var(axis=0) / variance[varied])], k] += 1
        stands_for = votes[0].argmax(axis=1)
        return votes[1][np.arange(len(stands_for)), stands_for].sum() / votes[1].sum()

    found = _estimates(score, [np.arange(len(codes))], seed, resamples)[0]
    tested = groups - groups // 2
    return found._replace(monte_carlo_error=math.sqrt(found.mean * (1.0 - found.mean) / tested), samples=groups)


def _estimates(score: Callable, parts: list[np.ndarray], seed: int, resamples: int) -> list[Estimate]:
    """The scores of the rows in `parts`, with their spread over rows that are drawn from each part (the bootstrap)."""
    random = np.random.default_rng([seed, 1])
    values = np.atleast_1d(score(*parts))
    again = [np.atleast_1d(score(*(random.choice(part, len(part)) for part in parts))) for _ in range(resamples)]
    errors = np.nanstd(again, axis=0, ddof=1) if resamples > 1 else np.full(len(values), math.nan)
    n = sum(map(len, parts))
    return [Estimate(float(v), float(e), 0.0, 1.0, "", "", 1, n) for v, e in zip(values, errors, strict=True)]


def _numbers(seed, resamples, **counts) -> list[int]:
    """The counts, each a pair of a number and the least it may be; then seed and resamples: checked."""
    own = [arguments.whole(name, count, least) for name, (count, least) in counts.items()]
    return [*own, arguments.seed(seed), arguments.whole("resamples", resamples, 0)]


def _checked(codes, factors) -> tuple[np.ndarray, np.ndarray]:
    try:
        codes = np.asarray(as_array(codes, "codes").values, np.float64)
    except ValueError:
        raise ValueError(f"codes must be numbers [N, D], got {arguments.shown(codes)}.") from None
    factors = np.asarray(as_array(factors, "factors").values)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ValueError(f"codes must be [N, D] and factors [N, K], got {codes.shape} and {factors.shape}.")
    if not REAL.contains(codes):
        wrong = int(REAL.outside(codes).any(axis=1).sum())
        raise ValueError(
            f"codes must be finite and at most {LARGEST:g}, but {wrong} of {len(codes)} rows hold others or NaN. Leave "
            "them out."
        )
    if factors.dtype.kind not in "biu":
        raise ValueError(f"factors must be integers (classes), got dtype {factors.dtype}. Cut numbers into classes.")
    if all(len(np.unique(factor)) < 2 for factor in factors.T):
        raise ValueError("No factor varies: each has one value only. Give examples that differ in some.")
    if not codes.std(axis=0).any():
        raise ValueError("No code varies: each has one value only. Train the model, or give codes of several examples.")
    return codes, factors


def _binned(code: np.ndarray, bins: int) -> np.ndarray:
    edges = np.linspace(code.min(), code.max(), bins + 1)
    return np.digitize(code, edges[1:-1])


def _information(a: np.ndarray, b: np.ndarray) -> float:
    """The mutual information of two columns of classes, nats."""
    a, b = (np.unique(column, return_inverse=True)[1] for column in (a, b))
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1.0 / len(a))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0.0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def _purity(weights: np.ndarray) -> np.ndarray:
    """1 - entropy of each row over its greatest possible value; 1 for rows of one column."""
    columns = weights.shape[1]
    if columns == 1:
        return np.ones(len(weights))
    totals = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, totals, out=np.full_like(weights, 1.0 / columns), where=totals > 0.0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0.0)
    return 1.0 + (shares * logs).sum(axis=1) / math.log(columns)


def _halves(n: int, seed: int) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(n)
    return [order[: n // 2], order[n // 2 :]]
