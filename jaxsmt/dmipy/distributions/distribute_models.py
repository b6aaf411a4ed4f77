"""Bundles of compartments: `BundleModel`."""

from __future__ import annotations

from collections import Counter

from .. import refuse
from ..core.parameters import Parameters, Rule, not_covered

__all__ = ["BundleModel"]
__getattr__ = refuse("distribute_models", __all__)


class BundleModel(Parameters):
    """Compartments with one axis and volume fractions of their own.

    N compartments have N - 1 fractions, nested: the first has partial_volume_0 of the bundle, the second
    partial_volume_1 of what the first leaves, and so on. Links are set before the bundle goes into a model.
    """

    def __init__(self, models, parameter_links=None):
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

    def set_tortuous_parameter(self, lambda_perp, lambda_par, volume_fraction_intra) -> None:
        """lambda_perp = (1 - volume_fraction_intra) · lambda_par; lambda_perp leaves `parameter_names`."""
        self._require(lambda_perp, lambda_par, volume_fraction_intra)
        self._remove(lambda_perp)
        self.rules.append(Rule("bundle tortuosity", lambda_perp, (lambda_par, volume_fraction_intra)))


def instance_names(models) -> list[str]:
    """`<Class>_<n>`, n counting the instances of a class from 1."""
    counts: Counter[str] = Counter()
    names = []
    for model in models:
        counts[type(model).__name__] += 1
        names.append(f"{type(model).__name__}_{counts[type(model).__name__]}")
    return names
