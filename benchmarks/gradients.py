"""What derivatives cost: estimates alone, and with the gradient by the whole signal, side by side.

    python -m benchmarks gradients [--voxels 20000] [--repeats 5] [--json FILE]

Noisy signals of dispersed zeppelins (2 volumes at b = 0, 30 at each of b = 1000, 2000, 3000 s/mm²) are estimated in one
compiled program, then in another that also returns d/d(signal) of a weighted sum of the parameters in each voxel. The
two take turns; medians, and the ratio of each pair.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import jaxsmt as js
from jaxsmt.geometry.quadrature import gradient_directions

from . import record

MODELS = {
    "smt": (js.smt(), ("lambda_par", "lambda_perp")),
    "mcsmt": (js.mcsmt(), ("diff", "intra")),
    "watson": (js.FodModel(js.smt(), "watson"), ("lambda_par", "odi")),
}


def scheme() -> js.Acquisition:
    bvals = np.r_[0, 0, np.repeat([1000.0, 2000.0, 3000.0], 30)]
    return js.Acquisition(bvals, np.r_[np.zeros((2, 3)), np.tile(gradient_directions(30), (3, 1))])


def signals(acquisition: js.Acquisition, voxels: int, dtype: str) -> np.ndarray:
    """(voxels, volumes): zeppelins about 20 axes near a common one, noise of 1/50 of S0."""
    rng = np.random.default_rng(0)
    out = np.empty((voxels, acquisition.bvals.size), dtype)
    for i in range(0, voxels, 1000):
        n = min(1000, voxels - i)
        par, fraction = rng.uniform(1.2, 2.2, (n, 1, 1)), rng.uniform(0.1, 0.5, (n, 1, 1))
        axes = rng.standard_normal((n, 1, 3))
        axes = axes / np.linalg.norm(axes, axis=2, keepdims=True) + 0.35 * rng.standard_normal((n, 20, 3))
        cosine = axes / np.linalg.norm(axes, axis=2, keepdims=True) @ acquisition.bvecs.T
        clean = np.exp(-acquisition.bvals / 1000 * par * (fraction + (1 - fraction) * cosine**2)).mean(axis=1)
        out[i : i + n] = clean + rng.standard_normal(clean.shape) / 50
    return out


def main(arguments: list[str]) -> None:
    options = record.options(__doc__ or "", voxels=20_000, repeats=5).parse_args(arguments)
    acquisition = scheme()
    rows = []
    with jax.enable_x64(options.dtype == "float64"):
        data = jnp.asarray(signals(acquisition, options.voxels, options.dtype))
        for name, (model, outputs) in MODELS.items():

            def total(signal, model=model, outputs=outputs):
                found = js.estimate(model, acquisition, signal)
                return sum(jnp.sum(found[o]) for o in outputs)

            alone, both = jax.jit(jax.vmap(total)), jax.jit(jax.vmap(jax.value_and_grad(total)))
            ways = {
                "estimate": lambda program=alone: jax.block_until_ready(program(data)),
                "with gradient": lambda program=both: jax.block_until_ready(program(data)),
            }
            spent = record.in_turn(ways, options.repeats)
            ratios = [b.wall / a.wall for a, b in zip(*spent.values(), strict=True)]
            for way, of_way in spent.items():
                rows.append({"what": f"{name}: {way}", **record.speed(options.voxels, of_way)})
            rows[-1]["over_estimate"] = round(float(np.median(ratios)), 3)
            rows[-1]["all_over_estimate"] = [round(r, 3) for r in ratios]
    settings = {"dtype": options.dtype, "voxels": options.voxels}
    record.publish("gradients", settings, rows, options.json, jax.devices()[0])
