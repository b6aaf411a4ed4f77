"""dmipy 1.0.5: brute force over a grid, then L-BFGS-B with numerical derivatives, voxel after voxel, in one process."""

import numpy as np
from exchange import TASKS, direction_of, serve

for removed, builtin in {"int": int, "float": float, "bool": bool, "object": object, "complex": complex}.items():
    if removed not in vars(np):
        setattr(np, removed, builtin)

FRACTION = "G2Zeppelin_1_lambda_perp_fraction"
PAR = "G2Zeppelin_1_lambda_par"
SHARED = {"use_parallel_processing": False}


def spherical_mean_model(task):
    """dmipy's own SMT and mcSMT, as in its tutorials."""
    from dmipy.core.modeling_framework import MultiCompartmentSphericalMeanModel
    from dmipy.distributions.distribute_models import BundleModel
    from dmipy.signal_models.cylinder_models import C1Stick
    from dmipy.signal_models.gaussian_models import G2Zeppelin

    if task != "mcsmt":
        model = MultiCompartmentSphericalMeanModel([G2Zeppelin()])
        model.set_fractional_parameter("G2Zeppelin_1_lambda_perp", PAR)
        return model
    bundle = BundleModel([C1Stick(), G2Zeppelin()])
    bundle.set_tortuous_parameter("G2Zeppelin_1_lambda_perp", "C1Stick_1_lambda_par", "partial_volume_0")
    bundle.set_equal_parameter(PAR, "C1Stick_1_lambda_par")
    return MultiCompartmentSphericalMeanModel([bundle])


def kernels(model, scheme, signals):
    """Estimates of the spherical mean model, in µm²/ms."""
    found = model.fit(scheme, signals, **SHARED).fitted_parameters
    if FRACTION in found:
        par = found[PAR] * 1e9
        return {"lambda_par": par, "lambda_perp": found[FRACTION] * par}
    return {
        "intra": found["BundleModel_1_partial_volume_0"],
        "diff": found["BundleModel_1_G2Zeppelin_1_lambda_par"] * 1e9,
    }


def lobes_model(density, count, kernel):
    """Distributed zeppelins whose diffusivities are held at those of the kernels, in every voxel its own."""
    from dmipy.core.modeling_framework import MultiCompartmentModel
    from dmipy.distributions.distribute_models import SD1WatsonDistributed, SD2BinghamDistributed
    from dmipy.signal_models.gaussian_models import G2Zeppelin

    distributed = {"watson": SD1WatsonDistributed, "bingham": SD2BinghamDistributed}[density]
    model = MultiCompartmentModel([distributed([G2Zeppelin()]) for _ in range(count)])
    for lobe in range(1, count + 1):
        for name in ("lambda_par", "lambda_perp"):
            values = np.ascontiguousarray(kernel[name]) * 1e-9
            model.set_fixed_parameter(f"{distributed.__name__}_{lobe}_G2Zeppelin_1_{name}", values)
    return model


def lobes(found, density, count):
    """Directions, ODI, concentrations and weights of the lobes (voxels, lobes, ...)."""

    def values(name):
        prefix = {"watson": "SD1WatsonDistributed_{}_SD1Watson_1_", "bingham": "SD2BinghamDistributed_{}_SD2Bingham_1_"}
        return np.stack([np.asarray(found[prefix[density].format(i + 1) + name]) for i in range(count)], axis=1)

    odi, mu = values("odi"), values("mu")
    kappa = 1 / np.tan(odi * np.pi / 2)
    out = {"direction": direction_of(mu), "odi": odi, "kappa": kappa, "weight": np.ones_like(odi)}
    if count > 1:
        out["weight"] = np.stack([found[f"partial_volume_{i}"] for i in range(count)], axis=1)
    if density == "bingham":
        from dmipy.utils.utils import rotation_matrix_100_to_theta_phi_psi as rotation

        out["beta"] = values("beta_fraction") * kappa
        turns = zip(mu[:, 0], values("psi")[:, 0], strict=True)
        out["across"] = np.stack([rotation(*one, psi)[:, 1] for one, psi in turns])[:, None]
    return out


def make(task, variant, bvals, bvecs):
    from dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues

    scheme = acquisition_scheme_from_bvalues(bvals * 1e6, bvecs, delta=0.0106, Delta=0.0431)
    spherical = spherical_mean_model(task)

    def fit(signals):
        kernel = kernels(spherical, scheme, signals)
        if task not in TASKS:
            return kernel
        density, count = TASKS[task]
        found = lobes_model(density, count, kernel).fit(scheme, signals, **SHARED).fitted_parameters
        return {**kernel, **lobes(found, density, count)}

    return fit


if __name__ == "__main__":
    serve(make, "dmipy")
