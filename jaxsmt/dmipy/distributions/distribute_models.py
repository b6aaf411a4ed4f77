"""Bundles of compartments, of one axis or of Watson's or Bingham's distribution of axes."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ... import InputError, bingham, signal, watson
from ...geometry.dispersion import kappa_from_odi
from ...physics.compartments import Kernel
from ...physics.densities.base import Lobe
from .. import refuse
from ..orientations import directions_from_mu, frame_of
from ..parameters import Parameters, Rule, not_covered
from ..schemes import DmipyAcquisitionScheme
from ..signal_models.base import SignalModel, unit_of

__all__ = ["BundleModel", "SD1WatsonDistributed", "SD2BinghamDistributed"]
_NOT_COVERED = (
    "DistributedModel",
    "SD3SphericalHarmonicsDistributed",
    "DD1GammaDistributed",
    "ReturnConstrainedBeta",
    "ReturnFixedValue",
)
# Signals are cut at an order that leaves out this part of S0, at least at 28, see `signal.convolved`.
_LEFT_OUT, _ORDER = 4e-5, 28
_FASTEST = 3.05  # µm²/ms, of the diffusivities of living tissue
__getattr__ = refuse(
    "distribute_models",
    __all__,
    _NOT_COVERED,
    fix="fit the spherical means of a BundleModel, then its Watson or Bingham distributions: "
    "return_parametric_fod_model('watson')",
)


class BundleModel(Parameters):
    """Compartments with one axis, and with volume fractions of the bundle.

    N compartments have N - 1 fractions, nested: the first has partial_volume_0 of the bundle, the second
    partial_volume_1 of what the first leaves, and so on. Links are set before the bundle goes into a model.

    Args:
        models: the compartments.
        parameter_links: not covered; set links with the methods.

    Attributes:
        models: the compartments.
        model_names: `<Class>_<n>` of each.
        partial_volume_names: of the volume fractions.

    Raises:
        NotCoveredError: `parameter_links` is given.

    Example:
        >>> from jaxsmt.dmipy.signal_models.cylinder_models import C1Stick
        >>> from jaxsmt.dmipy.signal_models.gaussian_models import G1Ball
        >>> BundleModel([C1Stick(), G1Ball()]).parameter_names
        ['C1Stick_1_mu', 'C1Stick_1_lambda_par', 'G1Ball_1_lambda_iso', 'partial_volume_0']
    """

    def __init__(self, models: Sequence[SignalModel], parameter_links: Any = None):
        super().__init__()
        if parameter_links is not None:
            raise not_covered("parameter_links", "set the links with the methods of the bundle")
        self.models = list(models)
        self.model_names = instance_names(self.models)
        for name, model in zip(self.model_names, self.models, strict=True):
            for p, n in model.parameter_cardinality.items():
                self._add(
                    f"{name}_{p}", model.parameter_ranges[p], model.parameter_scales[p], model.parameter_types[p], n
                )
        self.partial_volume_names = [f"partial_volume_{i}" for i in range(len(self.models) - 1)]
        for name in self.partial_volume_names:
            self._add(name, (0.01, 0.99), 1.0, "normal")

    def set_tortuous_parameter(self, lambda_perp: str, lambda_par: str, volume_fraction_intra: str) -> None:
        """Let the perpendicular diffusivity follow from the others by the tortuosity of packed fibres.

        λ⊥ = (1 - f) λ∥ with the volume fraction f inside the fibres; λ⊥ leaves `parameter_names`.

        Args:
            lambda_perp: the parameter λ⊥.
            lambda_par: the parameter λ∥.
            volume_fraction_intra: the parameter f.

        Raises:
            InputError: one of the parameters does not exist.
        """
        self._require(lambda_perp, lambda_par, volume_fraction_intra)
        self._remove(lambda_perp)
        self.rules.append(Rule("bundle tortuosity", lambda_perp, (lambda_par, volume_fraction_intra)))

    def shared_parameter(self, name: str) -> bool:
        """Whether a parameter is of all directions together, so that spherical means do not depend on it."""
        return self.parameter_types[name] == "orientation"


class _Distributed(BundleModel):
    """Compartments whose axes follow one distribution; links are set as those of a bundle."""

    _distribution: str

    def __init__(self, models: Sequence[SignalModel], parameter_links: Any = None):
        super().__init__(models, parameter_links)
        axes = [name for name, kind in self.parameter_types.items() if kind == "orientation"]
        if not axes:
            raise InputError("At least one input model must have an orientation parameter.")
        fractions = {name: self.parameter_ranges[name] for name in self.partial_volume_names}
        for name in (*axes, *fractions):
            self._remove(name)
        self._add_distribution(f"{self._distribution}_1_")
        for name, bounds in fractions.items():
            self._add(name, bounds, 1.0, "normal")

    def _add_distribution(self, prefix: str) -> None:
        """Add the parameters of the distribution."""
        self._add(f"{prefix}mu", ([0, np.pi], [-np.pi, np.pi]), np.ones(2), "orientation", 2)
        self._add(f"{prefix}odi", (0.005, 1), 1.0, "normal")

    def shared_parameter(self, name: str) -> bool:
        """Whether a parameter is of the distribution, so that spherical means do not depend on it."""
        return name.startswith(f"{self._distribution}_1_")

    def __call__(self, acquisition_scheme: DmipyAcquisitionScheme, **values: ArrayLike) -> np.ndarray:
        """Signal over S0 of all measurements.

        Args:
            acquisition_scheme: the measurements.
            **values: all of `parameter_names`, SI, angles in radians.

        Returns:
            (measurements,); 1 at b = 0.

        Raises:
            InputError: a parameter has no value, or times of the pulses are needed and unknown.
        """
        acquisition, kernel = acquisition_scheme.acquisition, self._kernel(acquisition_scheme)
        out = np.ones(acquisition.bvals.size)
        with jax.enable_x64(True):
            native, lobe = self._native(values), self._lobe(values, f"{self._distribution}_1_")
            for shell in acquisition.shells:
                if not shell.zero:
                    g = acquisition.bvecs[shell.volumes]
                    order = max(_ORDER, signal.truncation_order(float(shell.b) * _FASTEST, _LEFT_OUT))
                    moments = kernel.legendre(shell.pulse, order, native)
                    alike = jnp.broadcast_to(moments, (len(g), *moments.shape))
                    of_shell = signal.convolved(g, shell.b, partial(_known, alike), lobe, order)
                    out[shell.volumes] = np.asarray(of_shell)
        return out

    def spherical_mean(self, acquisition_scheme: DmipyAcquisitionScheme, **values: ArrayLike) -> np.ndarray:
        """Spherical means over S0 of all shells, which do not depend on the distribution.

        Args:
            acquisition_scheme: the measurements.
            **values: the parameters by name, SI; those of the distribution may be missing.

        Returns:
            (shells,); 1 at b = 0.

        Raises:
            InputError: a parameter has no value, or times of the pulses are needed and unknown.
        """
        kernel = self._kernel(acquisition_scheme)
        with jax.enable_x64(True):
            native = self._native(values)
            means = [kernel.mean(shell.pulse, native) for shell in acquisition_scheme.acquisition.shells]
        return np.where(acquisition_scheme.shell_b0_mask, 1.0, np.array(means, float))

    def _kernel(self, scheme: DmipyAcquisitionScheme) -> Kernel:
        """jaxsmt's kernel; raise InputError if it needs times that the scheme does not have."""
        members = zip(self.model_names, self.models, strict=True)
        kernel = Kernel(tuple((name, model.compartment()) for name, model in members))
        kernel.require(scheme.acquisition.pulses)
        return kernel

    def _native(self, values: Mapping[str, ArrayLike]) -> dict[str, jax.Array]:
        """What the kernel depends on, in jaxsmt's units, by the links from the parameters by name."""
        missing = [n for n in self.parameter_names if n not in values and not self.shared_parameter(n)]
        if missing:
            raise InputError(f"no value of {missing}", fix=f"give {self.parameter_names}")
        known = {name: np.asarray(value, float) for name, value in values.items()}
        for rule in reversed(self.rules):
            if rule.kind == "fixed":
                known[rule.target] = np.asarray(rule.value, float)
        for rule in reversed(self.rules):
            sources = [known[source] for source in rule.sources]
            if rule.kind == "equal":
                known[rule.target] = sources[0]
            elif rule.kind == "bundle tortuosity":
                known[rule.target] = (1 - sources[1]) * sources[0]
        native: dict[str, jax.Array] = {}
        left = np.ones(())
        for i, (name, model) in enumerate(zip(self.model_names, self.models, strict=True)):
            for p in model.parameter_names:
                if p != "mu":
                    native[f"{name}.{p}"] = jnp.asarray(known[f"{name}_{p}"] / unit_of(p))
            part = left * known[self.partial_volume_names[i]] if i < len(self.partial_volume_names) else left
            native[f"weight.{name}"], left = jnp.asarray(part), left - part
        return native

    @abstractmethod
    def _lobe(self, values: Mapping[str, ArrayLike], prefix: str) -> Lobe:
        """jaxsmt's lobe of the distribution's parameters, whose names start with the prefix."""


class SD1WatsonDistributed(_Distributed):
    """Compartments whose axes follow a Watson distribution.

    It gives signals and spherical means, and takes part in spherical mean models, whose parameters do not have the
    distribution's; a model of its means is fitted first, then return_parametric_fod_model("watson").

    Args:
        models: the compartments.
        parameter_links: not covered; set links with the methods.

    Raises:
        InputError: no compartment has an axis.

    Example:
        >>> from jaxsmt.dmipy.signal_models.cylinder_models import C1Stick
        >>> SD1WatsonDistributed([C1Stick()]).parameter_names
        ['C1Stick_1_lambda_par', 'SD1Watson_1_mu', 'SD1Watson_1_odi']
    """

    _distribution = "SD1Watson"

    def _lobe(self, values: Mapping[str, ArrayLike], prefix: str) -> Lobe:
        axis, odi = _value(values, f"{prefix}mu"), _value(values, f"{prefix}odi")
        return watson(jnp.asarray(directions_from_mu(axis)), jnp.asarray(kappa_from_odi(odi)))


class SD2BinghamDistributed(_Distributed):
    """Compartments whose axes follow a Bingham distribution; as `SD1WatsonDistributed` otherwise.

    Args:
        models: the compartments.
        parameter_links: not covered; set links with the methods.

    Raises:
        InputError: no compartment has an axis.

    Example:
        >>> from jaxsmt.dmipy.signal_models.cylinder_models import C1Stick
        >>> SD2BinghamDistributed([C1Stick()]).parameter_names[1:]
        ['SD2Bingham_1_mu', 'SD2Bingham_1_psi', 'SD2Bingham_1_odi', 'SD2Bingham_1_beta_fraction']
    """

    _distribution = "SD2Bingham"

    def _add_distribution(self, prefix: str) -> None:
        self._add(f"{prefix}mu", ([0, np.pi], [-np.pi, np.pi]), np.ones(2), "orientation", 2)
        self._add(f"{prefix}psi", (0, np.pi), 1.0, "circular")
        self._add(f"{prefix}odi", (0.005, 1), 1.0, "normal")
        self._add(f"{prefix}beta_fraction", (0, 1), 1.0, "normal")

    def _lobe(self, values: Mapping[str, ArrayLike], prefix: str) -> Lobe:
        axis = directions_from_mu(_value(values, f"{prefix}mu"))
        psi, odi, share = (_value(values, prefix + name) for name in ("psi", "odi", "beta_fraction"))
        y, z = frame_of(axis)
        kappa = kappa_from_odi(odi)
        across = np.cos(psi) * y + np.sin(psi) * z
        return bingham(*map(jnp.asarray, (axis, kappa, kappa * share, across)))


def _known(moments: jax.Array, b: jax.Array, lmax: int) -> jax.Array:
    """Moments that are known already, as `convolved` asks for them."""
    return moments


def _value(values: Mapping[str, ArrayLike], name: str) -> np.ndarray:
    """A parameter's value; raise InputError if there is none."""
    if name not in values:
        raise InputError(f"no value of {[name]}", fix="give it to the call")
    return np.asarray(values[name], float)


def instance_names(models: Sequence[object]) -> list[str]:
    """`<Class>_<n>` of each model, n counting the instances of a class from 1."""
    counts: Counter[str] = Counter()
    names = []
    for model in models:
        counts[type(model).__name__] += 1
        names.append(f"{type(model).__name__}_{counts[type(model).__name__]}")
    return names
