"""Normal priors of a model's parameters. NumPy only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class NormalPrior:
    """A normal density of some of a model's parameters, whichever of `model.names`.

    Attributes:
        names: of the parameters. mean: (p,). covariance: (p, p), symmetric and positive definite.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray

    def __post_init__(self):
        mean, covariance = np.asarray(self.mean, float), np.asarray(self.covariance, float)
        n = len(self.names)
        if n == 0 or mean.shape != (n,) or covariance.shape != (n, n):
            raise InputError(
                f"a prior of {list(self.names)} with a mean of shape {mean.shape} and a covariance of "
                f"{covariance.shape}",
                fix="one mean for each name, and a square covariance",
            )
        good = np.isfinite(mean).all() and np.isfinite(covariance).all() and np.allclose(covariance, covariance.T)
        if not good or np.linalg.eigvalsh(covariance)[0] <= 0:
            raise InputError(
                "the covariance of a prior is not symmetric and positive definite", fix="variances on its diagonal"
            )
        for name, value in (("names", tuple(self.names)), ("mean", mean), ("covariance", covariance)):
            object.__setattr__(self, name, value)

    @classmethod
    def make(cls, given: Any, model: str) -> NormalPrior | None:
        """From None, "population", a mapping {name: (mean, standard deviation)}, or as it is."""
        if given is None or isinstance(given, cls):
            return given
        if isinstance(given, str):
            if given != "population":
                raise InputError(f"unknown prior {given!r}", fix="'population', or {name: (mean, sd)}")
            if model not in POPULATION:
                raise InputError(
                    f"no population prior of the {model} model", fix=f"there is one of {', '.join(POPULATION)}"
                )
            return POPULATION[model]
        if not isinstance(given, Mapping):
            raise InputError(f"a prior of type {type(given).__name__}", fix="{name: (mean, standard deviation)}")
        try:
            means, deviations = np.array(list(given.values()), float).reshape(-1, 2).T
        except (TypeError, ValueError):
            raise InputError(f"a prior {dict(given)}", fix="{name: (mean, standard deviation)}, numbers") from None
        if np.any(deviations <= 0):
            raise InputError("a prior's standard deviation is not positive", fix="above 0")
        return cls(tuple(given), means, np.diag(deviations**2))

    @classmethod
    def read(cls, path: str | os.PathLike) -> NormalPrior:
        """Read a JSON file {"mean": {name: value, …}, "covariance": [[…], …]}."""
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            return cls(tuple(content["mean"]), np.array(list(content["mean"].values()), float), content["covariance"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            fact = error.fact if isinstance(error, InputError) else f"no prior: {error}"
            raise InputError(
                fact, file=path, fix='a JSON file {"mean": {name: value, ...}, "covariance": [[...], ...]}'
            ) from None

    def require(self, names: Sequence[str]) -> None:
        """Raise InputError unless they all are among a model's names."""
        odd = [name for name in self.names if name not in names]
        if odd:
            raise InputError(f"a prior of {odd[0]!r}", fix=f"of one of {list(names)}")

    def rooted(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Mean, and R with RᵀR the inverse of the covariance."""
        root = np.linalg.cholesky(np.linalg.inv(self.covariance)).T
        return self.mean.astype(dtype), root.astype(dtype)

    def facts(self) -> dict[str, Any]:
        """For a sidecar."""
        return {"mean": dict(zip(self.names, self.mean.tolist(), strict=True)), "covariance": self.covariance.tolist()}


#: Weak priors by the model's name: medians over the voxels of a living brain (b = 1000 and 2000 s/mm²) whose estimates
#: are in the interior, robust covariances less that of the noise (SMT: sd 0.49 and 0.14 µm²/ms, r -0.59; mcSMT: 0.62
#: µm²/ms and 0.17, r 0.44), widened fourfold so that they decide only where the data do not.
POPULATION = {
    "smt": NormalPrior(
        ("lambda_par", "lambda_perp"), np.array([2.2, 0.25]), np.array([[0.96, -0.162], [-0.162, 0.0784]])
    ),
    "mcsmt": NormalPrior(
        ("stick.lambda_par", "weight.stick"), np.array([1.67, 0.34]), np.array([[1.54, 0.186], [0.186, 0.116]])
    ),
}
