"""Bundles of compartments: `BundleModel`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .. import refuse
from ..parameters import Parameters, Rule, not_covered
from ..signal_models.base import SignalModel

__all__ = ["BundleModel"]
_NOT_COVERED = (
    "DistributedModel",
    "SD1WatsonDistributed",
    "SD2BinghamDistributed",
    "SD3SphericalHarmonicsDistributed",
    "DD1GammaDistributed",
    "ReturnConstrainedBeta",
    "ReturnFixedValue",
)
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


def instance_names(models: Sequence[object]) -> list[str]:
    """`<Class>_<n>` of each model, n counting the instances of a class from 1."""
    counts: Counter[str] = Counter()
    names = []
    for model in models:
        counts[type(model).__name__] += 1
        names.append(f"{type(model).__name__}_{counts[type(model).__name__]}")
    return names
