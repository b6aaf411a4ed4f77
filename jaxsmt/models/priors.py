"""Normal priors of a model's parameters. NumPy only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..acquisition.arrays import real_array
from ..errors import InputError, shown
from ..files.formats import require_file, require_path
from .units import unit_doubt

_FILE = 'a JSON file {"mean": {name: value, ...}, "covariance": [[...], ...]}'


class HasBounds(Protocol):
    """A parameter, as far as priors know it."""

    @property
    def lower(self) -> Any:
        """Its lower bound, a number or a map."""

    @property
    def upper(self) -> Any:
        """Its upper bound."""

    @property
    def unit(self) -> str:
        """Its unit."""


class HasPopulation(Protocol):
    """A model, as far as priors know it."""

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def population(self) -> NormalPrior | None:
        """The prior that "population" means."""


@dataclass(frozen=True, init=False)
class NormalPrior:
    """A normal density of some of a model's parameters, whichever of `model.names`.

    Priors compare by content and can be hashed.

    Args:
        names: of p parameters.
        mean: (p,), in the parameters' units.
        covariance: (p, p), symmetric and positive definite, in the products of these units.

    Raises:
        InputError: shapes that do not match, names that repeat, or an invalid covariance.

    Example:
        >>> import jaxsmt as js
        >>> prior = js.NormalPrior(("lambda_par", "lambda_perp"), (2.0, 0.3), ((1.0, -0.1), (-0.1, 0.1)))
        >>> prior.mean
        array([2. , 0.3])
    """

    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray

    def __init__(self, names: Sequence[str], mean: Any, covariance: Any) -> None:
        if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names):
            raise InputError(f"names= of a prior is {shown(names)}", fix="give a tuple of names")
        names = tuple(names)
        try:
            mean, covariance = (real_array(v, "prior").astype(float) + 0.0 for v in (mean, covariance))  # -0 becomes 0
        except (TypeError, ValueError, OverflowError):
            fix = "give real numbers, of a size that a double holds"
            raise InputError(f"a prior of {list(names)} of other things than numbers", fix=fix) from None
        n = len(names)
        if n == 0 or mean.shape != (n,) or covariance.shape != (n, n):
            raise InputError(
                f"a prior of {list(names)} with a mean of shape {mean.shape} and a covariance of {covariance.shape}",
                fix="one mean for each name, and a square covariance",
            )
        if len(set(names)) < n:
            raise InputError(f"a prior of {list(names)}, names that repeat", fix="give each name once")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise InputError(f"a prior of {list(names)} with numbers that are not finite", fix="give finite numbers")
        if (
            not np.allclose(covariance, covariance.T, atol=1e-8 * np.abs(covariance).max())
            or np.linalg.eigvalsh(covariance)[0] <= 0
        ):
            raise InputError(
                "the covariance of a prior is not symmetric and positive definite", fix="variances on its diagonal"
            )
        for values in (mean, covariance):
            values.setflags(write=False)
        self.__dict__.update(names=names, mean=mean, covariance=covariance)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NormalPrior):
            return NotImplemented
        pairs = (self.mean, other.mean), (self.covariance, other.covariance)
        return self.names == other.names and all(np.array_equal(a, b) for a, b in pairs)

    def __hash__(self) -> int:
        return hash((self.names, self.mean.tobytes(), self.covariance.tobytes()))

    @classmethod
    def make(cls, prior: Any, model: HasPopulation) -> NormalPrior | None:
        """Make a prior of what users give as `prior=`.

        Args:
            prior: None; "population", which is the model's own; {name: (mean, standard deviation)} in the parameters'
                units; or a NormalPrior.
            model: the model.

        Returns:
            The prior, or None for None.

        Raises:
            InputError: the model has no population prior, or the prior is something else.

        Example:
            >>> import jaxsmt as js
            >>> js.NormalPrior.make({"fraction": (0.3, 0.1)}, js.smt()).names
            ('fraction',)
            >>> js.NormalPrior.make("population", js.smt()).mean
            array([2.2 , 0.25])
        """
        if prior is None or isinstance(prior, cls):
            return prior
        fix = "prior='population', or prior={name: (mean, standard deviation)}"
        if isinstance(prior, str):
            if prior != "population":
                raise InputError(f"prior={shown(prior)} is unknown", fix=fix)
            if model.population is None:
                raise InputError(
                    f"there is no population prior of the {model.name} model",
                    fix="give one of your own, means and standard deviations by name; on the command line a JSON file",
                )
            return model.population
        if not isinstance(prior, Mapping):
            raise InputError(f"a prior of type {type(prior).__name__}", fix=fix)
        try:
            means, sd = np.array(list(prior.values()), float).reshape(-1, 2).T
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"a prior {shown(dict(prior))}", fix=f"{fix}, numbers") from None
        if np.any(sd <= 0):
            raise InputError("a prior's standard deviation is not positive", fix="above 0")
        return cls(tuple(prior), means, np.diag(sd**2))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> NormalPrior:
        """Read a JSON file {"mean": {name: value, …}, "covariance": [[…], …]}.

        Args:
            path: of the file; names as in `model.names`, values in their units.

        Returns:
            The prior.

        Raises:
            InputError: the file cannot be read, or holds no prior.

        Example:
            >>> from pathlib import Path
            >>> from tempfile import TemporaryDirectory
            >>> import jaxsmt as js
            >>> with TemporaryDirectory() as folder:
            ...     path = Path(folder, "prior.json")
            ...     _ = path.write_text('{"mean": {"fraction": 0.3}, "covariance": [[0.01]]}')
            ...     js.NormalPrior.read(path).names
            ('fraction',)
        """
        require_path(path, "path")
        require_file(path)
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file, object_pairs_hook=_without_repetition)
        except OSError as error:
            raise InputError(error.strerror or str(error), file=path, fix=_FILE) from None
        except InputError as error:
            raise InputError(error.fact, file=path, fix=_FILE) from None
        except (ValueError, RecursionError, MemoryError) as error:  # no JSON, or no text
            raise InputError(f"no JSON: {error}", file=path, fix=_FILE) from None
        if not isinstance(content, dict) or not isinstance(content.get("mean"), dict) or "covariance" not in content:
            raise InputError('no prior, which has a "mean" by names and a "covariance"', file=path, fix=_FILE)
        try:
            return cls(tuple(content["mean"]), list(content["mean"].values()), content["covariance"])
        except InputError as error:
            raise InputError(error.fact, file=path, fix=_FILE) from None

    def require(self, names: Sequence[str]) -> None:
        """Check that the prior is of parameters that there are.

        Args:
            names: that it may be of, as `model.names`.

        Raises:
            InputError: it is of another one.

        Example:
            >>> import jaxsmt as js
            >>> js.NormalPrior(("fraction",), (0.3,), ((0.01,),)).require(js.smt().names)
        """
        odd = [name for name in self.names if name not in names]
        if odd:
            raise InputError(f"a prior of {odd[0]!r}", fix=f"of one of {list(names)}")

    def doubts(self, parameters: Mapping[str, HasBounds]) -> list[str]:
        """What speaks against the means, in sentences: those outside the bounds, and those in another unit.

        Args:
            parameters: of the model, by name; others are not looked at.

        Returns:
            The sentences; empty if nothing does.

        Example:
            >>> import jaxsmt as js
            >>> js.NormalPrior(("lambda_par",), (2e-9,), ((1e-18,),)).doubts(js.smt().parameters)
            ['the prior of lambda_par has the mean 2e-09: is it in m²/s? Diffusivities are in µm²/ms here']
        """
        texts = []
        for name, mean in zip(self.names, self.mean.tolist(), strict=True):
            parameter = parameters.get(name)
            if parameter is None:
                continue
            lower, upper = (float(np.nanmean(end)) for end in (parameter.lower, parameter.upper))
            if doubt := unit_doubt(f"the prior of {name} has the mean", mean, parameter.unit):
                texts.append(doubt)
            elif not lower <= mean <= upper:
                texts.append(f"the prior of {name} has the mean {mean:g}, outside the bounds {lower:g} to {upper:g}")
        return texts

    def rooted(self, dtype: np.dtype | type) -> tuple[np.ndarray, np.ndarray]:
        """The mean, and R with RᵀR the inverse of the covariance, which makes residuals R(θ - mean).

        Args:
            dtype: of the results.

        Returns:
            mean: (p,), in the parameters' units.
            R: (p, p), upper triangular, in the inverse units.

        Example:
            >>> import numpy as np
            >>> import jaxsmt as js
            >>> js.NormalPrior(("fraction",), (0.5,), ((0.25,),)).rooted(np.float32)[1]
            array([[2.]], dtype=float32)
        """
        root = np.linalg.cholesky(np.linalg.inv(self.covariance)).T
        return self.mean.astype(dtype), root.astype(dtype)

    def facts(self) -> dict[str, Any]:
        """What a sidecar tells: the content of a file that `read` reads.

        Returns:
            "mean" by name and "covariance", lists and numbers.

        Example:
            >>> import jaxsmt as js
            >>> js.NormalPrior(("fraction",), (0.5,), ((0.25,),)).facts()
            {'mean': {'fraction': 0.5}, 'covariance': [[0.25]]}
        """
        return {"mean": dict(zip(self.names, self.mean.tolist(), strict=True)), "covariance": self.covariance.tolist()}


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of the pairs of a JSON object; a name that stands twice has no value that anybody can know."""
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{twice[0]!r} stands there {names.count(twice[0])} times")
    return dict(pairs)
