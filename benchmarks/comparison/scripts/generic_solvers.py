"""Generic solvers on jaxsmt's own equations, from one fixed point: how much of jaxsmt's speed is its own solver?

scipy: `least_squares` (trust region, bounds), a voxel after another, the equation and its Jacobian compiled.
optimistix: `LevenbergMarquardt` over all voxels under `jit(vmap)`; it takes no bounds, so parameters are logistic
functions of what it varies. Both minimise what jaxsmt does, means weighted by their inverse variance and S0 free.
"""

import numpy as np
from exchange import serve

BOUNDS = {"smt": ((0, 0), (3.05, 1)), "mcsmt": ((0, 0), (3.05, 1))}
START = {"smt": (2.0, 0.25), "mcsmt": (2.0, 0.5)}


def residual_of(model, acquisition):
    """(parameters and S0, means over those of b = 0) -> weighted residuals."""
    import jax.numpy as jnp

    names = [parameter.name for parameter in model.free]
    weights = 1 / np.sqrt(acquisition.variances / np.mean(acquisition.variances))

    def residual(x, means):
        signal = model.signal(acquisition, dict(zip(names, x[:-1], strict=True)))
        return jnp.asarray(weights, means.dtype) * (x[-1] * signal - means)

    return residual


def by_scipy(residual, start, lower, upper):
    """One call of `least_squares` for each voxel, in double precision."""
    import jax
    from scipy.optimize import least_squares

    jax.config.update("jax_enable_x64", True)
    function, jacobian = jax.jit(residual), jax.jit(jax.jacfwd(residual))

    def solve(means):
        def one(voxel):
            return least_squares(function, start, jacobian, bounds=(lower, upper), args=(voxel,)).x

        return np.stack([one(voxel) for voxel in means])

    return solve


def by_optimistix(residual, start, lower, upper):
    """All voxels in one compiled program, in single precision as jaxsmt."""
    import jax
    import jax.numpy as jnp
    import optimistix

    low, span = jnp.asarray(lower, jnp.float32), jnp.asarray(upper - lower, jnp.float32)
    solver = optimistix.LevenbergMarquardt(rtol=1e-5, atol=1e-6)
    first = jnp.log((start - lower) / (upper - start)).astype(jnp.float32)

    @jax.jit
    @jax.vmap
    def solve(means):
        def inside(y):
            return low + span * jax.nn.sigmoid(y)

        found = optimistix.least_squares(
            lambda y, _: residual(inside(y), means), solver, first, max_steps=100, throw=False
        )
        return inside(found.value)

    return lambda means: np.asarray(solve(jnp.asarray(means, jnp.float32)))


def make(task, variant, bvals, bvecs):
    import jaxsmt as js
    from jaxsmt.acquisition.means import spherical_means

    acquisition = js.Acquisition(bvals, bvecs)
    model = {"smt": js.smt, "mcsmt": js.mcsmt}[task]()
    lower, upper = (np.array([*ends, s0], float) for ends, s0 in zip(BOUNDS[task], (0.5, 1.5), strict=True))
    way = {"scipy": by_scipy, "optimistix": by_optimistix}[variant]
    solve = way(residual_of(model, acquisition), np.array([*START[task], 1.0]), lower, upper)

    def fit(signals):
        means = spherical_means(acquisition, signals).T
        found = solve(means / means[:, :1])
        if task == "mcsmt":
            return {"diff": found[:, 0], "intra": found[:, 1]}
        return {"lambda_par": found[:, 0], "lambda_perp": found[:, 0] * found[:, 1]}

    return fit


if __name__ == "__main__":
    serve(make)
