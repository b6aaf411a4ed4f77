"""A second solution within the noise: kernels that look isotropic where anisotropic ones are as likely.

The spherical means of an oblate tensor can equal those of a prolate one. Within λ⊥ ≤ λ∥ the cost of one tensor has one
minimum, but its valley leads from the truth to isotropy, λ⊥ = λ∥, towards the oblate solution beyond, and noise takes
some searches to that end. There both solutions are within the noise, and the estimate does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..acquisition.acquisition import Acquisition
from ..acquisition.echoes import echoes_of
from ..acquisition.shells import pulses_of_fit
from ..batch.predictions import predicted_means
from ..errors import InputError
from ..models.model import SphericalMeanModel
from ..status import FITTED

# λ⊥/λ∥ above which an estimate may be the far end of the valley, and up to which another solution counts. With two
# shells (1000, 2000 s/mm²) and with three, SNR 50, λ∥ from 1.2 to 2.6 and λ⊥/λ∥ from 0.05 to 0.9, they mark 90 % or
# more of the voxels whose estimate is nearer the oblate solution than the truth, and less than 10 % of the others.
_NEARLY_ISOTROPIC, _ANISOTROPIC = 0.9, 0.7
# The 95 % quantile of χ² with one degree of freedom: what the fraction may cost within the noise.
_WITHIN = 3.841
# Steps of λ∥ and of the fraction, voxels at once, and voxels that are drawn for what is to be expected.
_PAR, _FRACTION, _BLOCK, _DRAWN = 200, 36, 256, 1024


class _Valley(NamedTuple):
    """Means over S0 on a grid: fractions (f,), λ∥ (p,), and means (f, p, shells)."""

    fractions: np.ndarray
    par: np.ndarray
    means: np.ndarray


def is_known(model: SphericalMeanModel) -> bool:
    """Whether a model is one tensor with free λ∥ and λ⊥/λ∥, whose valley is known."""
    kinds = [compartment.kind for _, compartment in model.compartments]
    return kinds == ["zeppelin"] and model.parameter_names == ["lambda_par", "fraction"]


@dataclass(frozen=True)
class SecondSolution:
    """Looks for second solutions of one tensor's fits.

    Raises:
        InputError: another model than one tensor with free λ∥ and λ⊥/λ∥.
    """

    model: SphericalMeanModel
    acquisition: Acquisition
    s0_fitted: bool = True

    def __post_init__(self) -> None:
        if not is_known(self.model):
            raise InputError(
                f"second_solution= with the {self.model.name} model",
                fix="it is known for smt with both parameters free",
            )

    def __call__(
        self,
        maps: Mapping[str, np.ndarray],
        status: np.ndarray,
        means: Float[np.ndarray, "shells voxels"],
        sigma: Float[np.ndarray, " voxels"],
    ) -> dict[str, np.ndarray]:
        """The maps of second solutions.

        Args:
            maps: of the fit, by name, (voxels,) each. status: its codes. means: that were fitted.
            sigma: noise of one volume, in units of the means.
        Returns:
            (voxels,) by name: "second" is 1 where another solution is within the noise; "second_lambda_par" and
            "second_fraction" are that with the least λ⊥/λ∥, 0 elsewhere.
        """
        dtype = maps["lambda_par"].dtype
        found = {name: np.zeros(len(status), dtype) for name in ("second_lambda_par", "second_fraction")}
        flags = np.zeros(len(status), np.uint8)
        known = np.isin(status, FITTED) & np.isfinite(sigma) & (sigma > 0)
        at = np.flatnonzero(known & (maps["fraction"] > _NEARLY_ISOTROPIC))
        valley = self._valley(_ANISOTROPIC, _FRACTION) if at.size else None
        for i in range(0, at.size, _BLOCK):
            assert valley is not None
            voxels = at[i : i + _BLOCK]
            here = {name: maps[name][voxels] for name in self.model.kernel.names}
            fitted = self._predicted(here)
            least = self._costs(means[:, voxels], sigma[voxels], fitted[:, None])[:, 0]
            profile, par = self._profiles(means[:, voxels], sigma[voxels], valley)
            within = profile - least[:, None] < _WITHIN
            first = np.argmax(within, axis=1)
            marked = within.any(axis=1)
            flags[voxels] = marked
            found["second_fraction"][voxels] = np.where(marked, valley.fractions[first], 0)
            found["second_lambda_par"][voxels] = np.where(marked, par[np.arange(len(voxels)), first], 0)
        return {"second": flags, **found}

    def expected(self, lambda_par: float, fraction: float, sigma: float) -> float:
        """In which part of the voxels of a tissue a second solution is to be expected, by simulation.

        Args:
            lambda_par, fraction: of the tissue, µm²/ms and no unit.
            sigma: Gaussian noise of one volume over S0.
        Returns:
            the part, in [0, 1].
        """
        par = np.array([lambda_par])
        clean = self._predicted({"lambda_par": par, "lambda_perp": fraction * par})
        noise = np.random.default_rng(0).standard_normal((clean.size, _DRAWN))
        means = clean.T + sigma * np.sqrt(self.acquisition.variances)[:, None] * noise
        valley, marked = self._valley(1.0, 51), 0
        for i in range(0, _DRAWN, _BLOCK):
            of_block = means[:, i : i + _BLOCK]
            profile = self._profiles(of_block, np.full(of_block.shape[1], sigma), valley)[0]
            isotropic = valley.fractions[np.argmin(profile, axis=1)] > _NEARLY_ISOTROPIC
            others = profile[:, valley.fractions <= _ANISOTROPIC].min(axis=1) - profile.min(axis=1)
            marked += int(np.count_nonzero(isotropic & (others < _WITHIN)))
        return marked / _DRAWN

    def _profiles(self, means: np.ndarray, sigma: np.ndarray, valley: _Valley) -> tuple[np.ndarray, np.ndarray]:
        """The least cost of each fraction, (voxels, f), and at which λ∥."""
        costs = self._costs(means, sigma, valley.means.reshape(1, -1, len(means)))
        return _profile(costs.reshape(len(sigma), len(valley.fractions), -1), valley.par)

    def _valley(self, highest: float, steps: int) -> _Valley:
        """The grid of solutions with fractions up to the highest, within the bounds of λ∥."""
        p = self.model.parameters["lambda_par"]
        par = np.linspace(max(float(np.nanmin(p.lower)), 1e-3), float(np.nanmax(p.upper)), _PAR)
        fractions = np.linspace(0, highest, steps)
        f, lambda_par = (values.ravel() for values in np.meshgrid(fractions, par, indexing="ij"))
        means = self._predicted({"lambda_par": lambda_par, "lambda_perp": f * lambda_par})
        return _Valley(fractions, par, means.reshape(steps, _PAR, -1))

    def _predicted(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n, shells) means over S0."""
        pulses = pulses_of_fit(self.acquisition.shells, self.s0_fitted)
        return predicted_means(self.model.kernel, pulses, values, np.dtype(float))

    def _costs(self, means: np.ndarray, sigma: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """-2 log likelihood, (voxels, n), of predictions (voxels or 1, n, shells), with the best S0 or that of b0."""
        spread = np.sqrt(self.acquisition.variances)
        y, e = (means / spread[:, None] / sigma).T, predicted / spread
        costs = np.sum(y**2, axis=1)[:, None]
        echoes = np.array(echoes_of(self.acquisition) or (0,) * len(means))
        for echo in np.unique(echoes):
            of_echo = echoes == echo
            measured, expected = y[:, of_echo], e[..., of_echo]
            shared = len(e) == 1  # one product is much faster
            both = measured @ expected[0].T if shared else np.einsum("vs,vns->vn", measured, expected)
            squares = np.sum(expected**2, axis=-1)
            if self.s0_fitted:
                costs = costs - np.maximum(both, 0) ** 2 / squares
            else:
                s0 = (means[echo] / sigma)[:, None]
                costs = costs - 2 * s0 * both + s0**2 * squares
        return costs


def _profile(costs: np.ndarray, par: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least cost of each fraction over λ∥, by a parabola through the best of (voxels, f, p), and where it is."""
    best = np.clip(np.argmin(costs, axis=2), 1, costs.shape[2] - 2)[..., None]
    before, here, after = (np.take_along_axis(costs, best + step, axis=2)[..., 0] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    step = np.clip(np.where(bend > 0, (before - after) / (2 * np.where(bend > 0, bend, 1)), 0), -1, 1)
    least = here + step * (after - before) / 2 + step**2 * bend / 2
    return least, np.interp(best[..., 0] + step, np.arange(len(par)), par)
