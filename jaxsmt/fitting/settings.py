"""How to fit: every option of a fit, declared once. No JAX is loaded until a distribution or device is asked for.

An option has its name, default, check and help here: `fit` takes it by this name, the command line as a flag, and
sidecars, run.json and the report show it. `estimate`, of one voxel, takes those that make sense there.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..acquisition.arrays import real_array
from ..errors import InputError, is_whole, shown
from ..physics import noises

if TYPE_CHECKING:
    import jax

    from ..physics.noises.base import Noise
    from ..solvers import Solver


#: Values of sigma= that say how to estimate it.
SMOOTH, BACKGROUND = "smooth", "background"


@dataclass(frozen=True)
class Option:
    """What is said of an option besides its name and default.

    Attributes:
        help: one line for `--help` and docstrings, without the default.
        choices: what it may be; empty: anything that `check` accepts.
        check: value -> whether it can be. rule: what it must be, in words.
        flag: arguments of argparse beyond help, choices and default; None: the command line does not have it.
        fact: value -> how sidecars and run.json show it; None: they do not.
        computing: whether it says where and how to compute, and not what is fitted.
    """

    help: str
    choices: tuple[str, ...] = ()
    check: Callable[[Any], bool] | None = None
    rule: str = ""
    flag: Mapping[str, Any] | None = field(default_factory=dict)
    fact: Callable[[Any], Any] | None = lambda value: value
    computing: bool = False

    def require(self, name: str, value: Any) -> None:
        """Raise InputError if the option cannot have this value."""
        choices = " or ".join(f"{name}={choice!r}" for choice in self.choices)
        if self.choices and isinstance(value, str) and value not in self.choices:
            raise InputError(f"{name}={shown(value)} is unknown", fix=choices)
        if self.choices and not isinstance(value, str) and self.check is None:
            raise InputError(f"{name}={shown(value)} is not valid", fix=choices)
        if self.check is not None and not self.check(value):
            raise InputError(f"{name}={shown(value)} is not valid", fix=f"{name}= takes {self.rule}")


def option(default: Any, help: str, **rest: Any) -> Any:
    """A dataclass field that is an option, see `Option`."""
    return field(default=default, metadata={"option": Option(help, **rest)})


def options_of(record: type) -> dict[str, tuple[Option, Field[Any]]]:
    """The options that a dataclass declares, by name, each with its field."""
    return {f.name: (f.metadata["option"], f) for f in fields(record) if "option" in f.metadata}


def _is_sigma(value: Any) -> bool:
    """None, a way to estimate it, or real numbers; a map is compared with the data where those are known."""
    if value is None or hasattr(value, "aval"):  # JAX's, perhaps traced
        return True
    if isinstance(value, str):
        return value in (SMOOTH, BACKGROUND)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of unequal lengths
        return False
    if array.dtype.kind not in "iuf" or isinstance(value, np.ma.MaskedArray):
        return False
    return array.ndim > 0 or (math.isfinite(float(array)) and float(array) > 0)


@dataclass(frozen=True, eq=False)
class Settings:
    """How a model is fitted. Arguments of `fit` and `estimate`, frozen.

    Raises:
        InputError: an invalid value, named as the caller named it.

    Example:
        >>> Settings(noise="rician", uncertainty=True).noise
        'rician'
        >>> Settings(noise="poisson")
        Traceback (most recent call last):
        jaxsmt.errors.InputError: noise='poisson' is unknown
          fix: noise='gaussian' or noise='noncentral-chi' or noise='rician'
    """

    noise: str | Noise = option(
        "gaussian",
        "distribution of the noise; with rician or noncentral-chi the data are magnitudes, whose noise floor the fit "
        "removes",
        choices=noises.names(),
        check=lambda noise: isinstance(noise, str) or hasattr(noise, "magnitudes"),
        rule=f"{', '.join(noises.names())} or a js.Noise",
        fact=lambda noise: noise if isinstance(noise, str) else noise.name,
    )
    coils: int = option(
        1,
        "receiver coils whose squares were summed, for noncentral-chi noise",
        check=lambda n: is_whole(n, 1),
        rule="a whole number from 1",
        flag={"type": int, "metavar": "N"},
    )
    sigma: Any = option(
        None,
        "noise of one volume in units of the data: a number, or a map; by default it is estimated where it is needed, "
        "with smooth as a function that is smooth in space, with background from the voxels outside the mask",
        check=_is_sigma,
        rule=f"a number above 0, a map of numbers, {SMOOTH!r} or {BACKGROUND!r}",
        flag={"default": "auto", "metavar": "S"},
        fact=None,
    )
    uncertainty: bool = option(
        False,
        "also give standard deviations",
        check=lambda value: isinstance(value, bool | np.bool_),
        rule="True or False",
        flag={"action": "store_true"},
    )
    second_solution: bool = option(
        False,
        "also mark voxels whose estimate is nearly isotropic where an anisotropic solution is within the noise, and "
        "give that solution (smt)",
        check=lambda value: isinstance(value, bool | np.bool_),
        rule="True or False",
        flag={"action": "store_true"},
    )
    grad_dev: Any = option(
        None,
        "gradient deviation L of gradients g' = (I + L)g in every voxel, nine volumes as of the HCP, in the axes of "
        "FSL's directions; in Python in those of the acquisition",
        flag={"metavar": "F"},
        fact=None,
    )
    prior: Any = option(
        None,
        "normal prior of the parameters: that of a population, or yours, on the command line a JSON file",
        flag={"nargs": "?", "const": "population", "metavar": "F"},
        fact=None,
    )
    s0: str = option(
        "fit", "fit S0 with the model, or fix it to the mean of the b = 0 volumes", choices=("fit", "mean")
    )
    weights: Any = option(
        None,
        "weights of the squared residuals of b = 0 and the shells' means; by default inverse variances",
        flag=None,
        fact=None,
    )
    solver: Solver | None = option(
        None,
        "the solver; by default `levenberg_marquardt()`",
        check=lambda solver: solver is None or all(hasattr(solver, part) for part in ("init", "step", "most")),
        rule="a solver: call it, as js.levenberg_marquardt()",
        flag=None,
        fact=None,
        computing=True,
    )
    dtype: str = option("float32", "precision of the fit", choices=("float32", "float64"), computing=True)
    device: jax.Device | Sequence[jax.Device] | None = option(
        None,
        "where to compute: a device of JAX's, several of one kind, or a mesh; by default the first that JAX finds",
        flag=None,
        fact=None,
        computing=True,
    )

    def __post_init__(self) -> None:
        for name, (declared, _) in options_of(Settings).items():
            declared.require(name, getattr(self, name))
        if self.coils != 1 and self.noise != "noncentral-chi":
            raise InputError(
                f"coils={shown(self.coils)} without noncentral-chi noise", fix="give noise='noncentral-chi' too"
            )
        object.__setattr__(self, "coils", int(self.coils))  # it goes into JSON
        grad_dev = self.grad_dev
        if grad_dev is not None:
            grad_dev = real_array(grad_dev, "grad_dev").astype(float)
            if grad_dev.shape[-1:] == (9,):  # column by column
                grad_dev = np.swapaxes(grad_dev.reshape(*grad_dev.shape[:-1], 3, 3), -1, -2)
            object.__setattr__(self, "grad_dev", grad_dev)

    @classmethod
    def make(cls, options: Mapping[str, Any]) -> Settings:
        """Settings from the keyword arguments of `fit`.

        Args:
            options: values by the options' names.
        Returns:
            the settings; what is not given has its default.
        Raises:
            InputError: a name that is none of the options, or an invalid value.
        """
        known = options_of(cls)
        odd = [name for name in options if name not in known]
        if odd:
            raise InputError(f"there is no option {odd[0]!r}", fix=f"one of {', '.join(known)}")
        return cls(**options)

    def changed(self) -> list[str]:
        """Names of the options that differ from their defaults.

        Returns:
            the names.
        """

        def differs(name: str, default: Any) -> bool:
            value = getattr(self, name)
            return value is not default and not (isinstance(value, str | int | float) and value == default)

        return [name for name, (_, f) in options_of(Settings).items() if differs(name, f.default)]

    def with_computing(self, other: Settings) -> Settings:
        """These settings, computed as others say: solver, precision, device.

        Args:
            other: settings that say how to compute.
        Returns:
            the settings.
        """
        names = [name for name, (declared, _) in options_of(Settings).items() if declared.computing]
        return replace(self, **{name: getattr(other, name) for name in names})

    @property
    def given_sigma(self) -> Any:
        """σ as a number or a map; None where it is to be estimated, in whatever way."""
        return None if isinstance(self.sigma, str) else self.sigma

    @property
    def distribution(self) -> Noise:
        """The noise distribution as a record of functions."""
        return noises.find(self.noise, self.coils) if isinstance(self.noise, str) else self.noise

    @property
    def channels(self) -> int:
        """Real channels of a magnitude: those of the noise, or two where it is taken to be Gaussian."""
        noise = self.distribution
        return noise.channels if noise.magnitudes else 2

    @property
    def minimiser(self) -> Solver:
        """The solver that a fit uses."""
        from ..solvers import levenberg_marquardt

        return levenberg_marquardt() if self.solver is None else self.solver

    def facts(self) -> dict[str, Any]:
        """What sidecars and run.json say of the options.

        Returns:
            values by the options' names, as JSON has them.
        """
        options = options_of(Settings).items()
        return {name: o.fact(getattr(self, name)) for name, (o, _) in options if o.fact is not None}


def takes_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show the options of `Settings` in the signature and docstring of a function that takes them as `**options`."""
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    lines, more = [], []
    for name, (declared, f) in options_of(Settings).items():
        if name in signature.parameters:
            continue
        assert f.default is not MISSING
        more.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type))
        lines.append(f"        {name}: {declared.help}.")
    function.__signature__ = signature.replace(parameters=kept + more)  # type: ignore[attr-defined]
    function.__doc__ = (function.__doc__ or "").replace("        **options: see `Settings`.", "\n".join(lines))
    return function
