"""Models of a voxel's spherical means: what a definition of compartments and links computes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..acquisition import pytree  # noqa: F401  acquisitions are pytrees wherever there are models
from ..acquisition.shells import Pulse
from ..errors import InputError
from .arguments import numbers_of, require_pulses
from .definition import Definition
from .description import boxes_of, lines_beside
from .diagram import draw
from .moments import box_points, moments_at
from .runtime import RUNS_ONCE, Changes, look_up, separate
from .searches import start_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HasPulses(Protocol):
    """An acquisition, or another record of the diffusion weightings of b = 0 and the shells."""

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """b = 0 first."""


class StaticModel(NamedTuple):
    """A model without its values, and the values; see `SphericalMeanModel.without_values`."""

    model: SphericalMeanModel
    numbers: tuple[Any, ...]
    maps: tuple[np.ndarray, ...]


class SphericalMeanModel(Definition):
    """A sum of compartments whose spherical means are fitted, Σ_c w_c ε_c(b), under links and bounds.

    Parameters are called `compartment.parameter`; volume fractions w_c, which sum to 1, `weight.compartment`. A single
    compartment without a name makes a model whose parameters have no prefix.

    A model is frozen: methods that change it return another one. Models compare by content, maps too; one without maps
    can be hashed.

    Args:
        compartments: {name: compartment}, or one compartment.
        links: one link or several, in any order: `equal`, `fraction`, `tortuosity`, `ordering`, `fixed`, `Link`.
        name: of the model, letters and digits, as in file names.
        derived: links of further maps. Nothing else can depend on them.
        maps: names of the maps that are written to files; empty: all parameters and derived maps.
        move: `(coordinates, step) -> coordinates`, how a search goes by a step of the coordinates, which are those of
            the free parameters in their order; None: along a straight line. For valleys that are not straight.
        tissues: {tissue: {name of a free parameter: typical value}}, at which expected errors are told; empty: each
            parameter's own typical value.
        population: the prior that `prior="population"` means; None: there is none.
        changed: parameters with other bounds or starts, as `bound` and `start` set them.
        held: fixed parameters and their values, as `fix` sets them.

    Raises:
        InputError: names that do not exist, parameters determined twice, links in a circle, invalid values.

    Example:
        >>> import jaxsmt as js
        >>> model = js.SphericalMeanModel(
        ...     {"stick": js.stick(), "ball": js.ball()},
        ...     links=[js.equal("ball.diffusivity", "stick.lambda_par")],
        ... )
        >>> model.parameter_names
        ['stick.lambda_par', 'weight.stick']
    """

    def without_values(self) -> StaticModel:
        """Separate what a program is compiled for from the values that are passed to it at run time.

        JAX compiles a program for one static model. In the static model a `Placeholder` stands for each value that
        another call may have otherwise, so that one program serves all values and, with maps, all voxels: fixed
        values, starts, and bounds that are maps. Bounds that are numbers stay in the static model.

        Returns:
            model: the static model, which can be hashed.
            numbers: the values that are numbers, first of fixed parameters, then starts.
            maps: (...) each, the values that are maps.

            Methods of a static model, and of its `space`, that take `runtime` need (*numbers, *values of the maps in
            one voxel).

        Example:
            >>> import jaxsmt as js
            >>> static, numbers, maps = js.smt().fix(lambda_par=1.7).without_values()
            >>> static.held, numbers, maps
            ((('lambda_par', Placeholder(number=0)),), (1.7,), ())
            >>> static == js.smt().fix(lambda_par=2.0).without_values().model
            True
        """
        separated = separate(Changes(self.held, self.changed))
        return StaticModel(replace(self, **separated.static._asdict()), separated.numbers, separated.maps)

    # Values and signals.

    def values(self, x: Sequence[Array], runtime: Sequence[Any] = ()) -> dict[str, Array]:
        """All quantities by name, from coordinates of a search.

        Args:
            x: a coordinate for each free parameter, arrays (...) of one shape; see `Space`.
            runtime: values for the placeholders of a static model, see `without_values`.

        Returns:
            (...) each, of all `names`, in their units.

        Example:
            >>> import jax.numpy as jnp
            >>> import jaxsmt as js
            >>> values = js.smt().values((jnp.asarray(2.0), jnp.asarray(0.25)))
            >>> {name: round(float(value), 3) for name, value in values.items()}
            {'lambda_par': 2.0, 'fraction': 0.25, 'lambda_perp': 0.5}
        """
        return self.resolve(self.space.values(x, runtime))

    def resolve(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """All quantities by name, from the free and fixed parameters.

        Args:
            values: (...) each, arrays or scalars of one shape, in the parameters' units.

        Returns:
            (...) each, of all `names`, in their units.

        Example:
            >>> import jax.numpy as jnp
            >>> import jaxsmt as js
            >>> values = js.smt().resolve({"lambda_par": jnp.asarray(2.0), "fraction": jnp.asarray(0.25)})
            >>> float(values["lambda_perp"])
            0.5
        """
        return self.structure.resolve(values, self.space.rest)

    def derive(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The derived maps by name.

        Args:
            values: (...) each, of all `names`, as `resolve` returns them.

        Returns:
            (...) each, in their units.

        Example:
            >>> import jax.numpy as jnp
            >>> import jaxsmt as js
            >>> model = js.smt()
            >>> values = model.resolve({"lambda_par": jnp.asarray(2.0), "fraction": jnp.asarray(0.25)})
            >>> float(model.derive(values)["md"])
            1.0
        """
        return {link.target: link.function(*(values[s] for s in link.sources)) for link in self.derived}

    def mean(self, pulse: Pulse, values: Mapping[str, Array]) -> Array:
        """The spherical mean over S0, Σ_c w_c ε_c(b).

        Args:
            pulse: the diffusion weighting.
            values: (...) each, of all `names`, as `resolve` returns them.

        Returns:
            (...), no unit.

        Example:
            >>> import jax.numpy as jnp
            >>> import jaxsmt as js
            >>> ball = js.SphericalMeanModel(js.ball())
            >>> round(float(ball.mean(js.Pulse(1.0), {"diffusivity": jnp.asarray(1.0)})), 3)
            0.368
        """
        return self.kernel.mean(pulse, values)

    def signal(
        self, acquisition: HasPulses, parameters: Mapping[str, ArrayLike], runtime: Sequence[Any] | None = None
    ) -> Array:
        """Spherical means over S0 of b = 0 and of each shell.

        Args:
            acquisition: an `Acquisition`, or whatever has its `pulses`.
            parameters: (...) each, the free parameters by name, in their units; they broadcast.
            runtime: values for the placeholders of a static model, see `without_values`; None: the model has its own.

        Returns:
            (..., shells), b = 0 first, no unit, in the precision of the parameters.

        Raises:
            InputError: names that are missing or not free, or pulse timings that a compartment needs.

        Example:
            >>> import jaxsmt as js
            >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
            >>> means = js.smt().signal(acquisition, {"lambda_par": 2.0, "fraction": 0.25})
            >>> [round(float(mean), 2) for mean in means]
            [1.0, 0.4, 0.19, 0.09]
        """
        require_pulses(acquisition)
        self.kernel.require(acquisition.pulses)
        missing = [name for name in self.parameter_names if name not in parameters]
        odd = [name for name in parameters if name not in self.parameter_names]
        if missing or odd:
            fact = f"no value of {missing}" if missing else f"values of {odd}, which are not free"
            raise InputError(fact, fix=f"give {self.parameter_names}")
        held = {name: value if runtime is None else look_up(value, runtime) for name, value in self.held}
        values = {name: numbers_of(v, name) for name, v in {**parameters, **held}.items()}
        floating = [values[name] for name in parameters if jnp.issubdtype(values[name].dtype, jnp.floating)]
        dtype = jnp.result_type(float, *floating)
        try:
            shape = np.broadcast_shapes(*(v.shape for v in values.values()))
        except ValueError:
            shapes = ", ".join(f"{name} {v.shape}" for name, v in values.items())
            raise InputError(f"parameters of different shapes: {shapes}", fix="they must broadcast") from None
        resolved = self.resolve({name: jnp.broadcast_to(v.astype(dtype), shape) for name, v in values.items()})
        return jnp.stack([self.mean(pulse, resolved) for pulse in acquisition.pulses], axis=-1)

    def extreme_moments(self, pulse: Pulse) -> np.ndarray:
        """Legendre moments of the compartments over the whole box of parameters, at its corners and at random points.

        They tell the order at which convolved signals may be cut.

        Args:
            pulse: the diffusion weighting.

        Returns:
            (points, 61), the moments of even order up to 120, no unit, in double precision.

        Example:
            >>> import jaxsmt as js
            >>> js.smt().extreme_moments(js.Pulse(1.0)).shape
            (69, 61)
        """
        static, numbers, maps = self.without_values()
        n = len(static.free)
        with jax.enable_x64(True):
            parts = [jnp.asarray(part) for part in box_points(n + len(maps))]
            ends = [(np.nanmin(m), np.nanmax(m)) for m in maps]
            drawn = [low + (high - low) * part for (low, high), part in zip(ends, parts[n:], strict=True)]
            return np.asarray(_moments_in_box(parts[:n], (*numbers, *drawn), pulse, model=static))

    # Searches.

    def grid(self) -> np.ndarray:
        """Where searches look for their starts.

        Returns:
            (searches, points, free parameters), parts of the parameters' intervals, in (0, 1). Each search starts at
            the best of its points.

        Example:
            >>> import jaxsmt as js
            >>> js.smt().grid().shape
            (1, 72, 2)
        """
        return start_grid(self.free)

    def step(self, x: tuple[Array, ...], step: tuple[Array, ...]) -> tuple[Array, ...]:
        """Where a search gets by a step of its coordinates.

        Args:
            x: (...) each, the coordinates.
            step: (...) each, the step.

        Returns:
            (...) each: by the model's `move`, or along a straight line.

        Example:
            >>> import jaxsmt as js
            >>> js.ball_stick().step((1.0, 0.5), (0.25, 0.25))
            (1.25, 0.75)
        """
        if self.move is None or self.held or self.space.orderings:
            return tuple(p + d for p, d in zip(x, step, strict=True))
        return self.move(x, step)

    # A picture.

    def diagram(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the compartments, and which parameters are free, fixed or linked, and how.

        Args:
            path: of the file to write, .svg, .png or .pdf; None: no file.

        Returns:
            A Matplotlib figure.

        Example:
            >>> import jaxsmt as js
            >>> figure = js.smt().diagram()
            >>> figure.axes[0].texts[0].get_text()
            'smt: 2 free parameters and S0'
        """
        title = f"{self.name}: {len(self.free)} free parameters and S0"
        figure = draw(title, boxes_of(self.structure, self.space), lines_beside(self.structure, self.space))
        if path is not None:
            figure.savefig(path, metadata={"Date": None} if str(path).endswith((".svg", ".pdf")) else None)
        return figure


@partial(jax.jit, static_argnames=("model",), compiler_options=RUNS_ONCE)
def _moments_in_box(
    parts: Sequence[Array], runtime: Sequence[Any], pulse: Pulse, *, model: SphericalMeanModel
) -> Array:
    """`moments_at` where each free parameter of a static model is at these parts of its interval, (points,) each."""
    space = model.space.without_starts()
    values = model.resolve(space.values(space.begin(parts, runtime), runtime))
    return moments_at(model.kernel, pulse, values)
