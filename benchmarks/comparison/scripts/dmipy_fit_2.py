"""dmipy-fit's spherical means: its NumPy solver with a grid of 100 steps, or its JAX solver in double precision.

The JAX solver ends in a KeyError with a fractional parameter, and starts in the middle of the bounds if no start is
given. So both diffusivities are free there, and start at 2.0 and 0.5 µm²/ms. It compiles anew in every call of `fit`;
a folder keeps its compiled programs here, so that the timed calls need not.
"""

import tempfile

import numpy as np
from exchange import serve

PAR, PERP = "G2Zeppelin_1_lambda_par", "G2Zeppelin_1_lambda_perp"
INTRA, D = "BundleModel_1_partial_volume_0", "BundleModel_1_G2Zeppelin_1_lambda_par"


def smt(variant):
    from dmipy_fit.core.spherical_mean_framework import MultiCompartmentSphericalMeanModel
    from dmipy_fit.signal_models.gaussian_models import G2Zeppelin

    model = MultiCompartmentSphericalMeanModel([G2Zeppelin()])
    if variant == "jax":
        model.set_initial_guess_parameter(PAR, 2.0e-9)
        model.set_initial_guess_parameter(PERP, 0.5e-9)
    else:
        model.set_fractional_parameter(PERP, PAR)
    return model


def mcsmt(variant):
    from dmipy_fit.core.spherical_mean_framework import MultiCompartmentSphericalMeanModel
    from dmipy_fit.distributions.distribute_models import BundleModel
    from dmipy_fit.signal_models.cylinder_models import C1Stick
    from dmipy_fit.signal_models.gaussian_models import G2Zeppelin

    bundle = BundleModel([C1Stick(), G2Zeppelin()])
    bundle.set_tortuous_parameter(PERP, "C1Stick_1_lambda_par", "partial_volume_0")
    bundle.set_equal_parameter(PAR, "C1Stick_1_lambda_par")
    model = MultiCompartmentSphericalMeanModel([bundle])
    if variant == "jax":
        model.set_initial_guess_parameter(D, 2.0e-9)
        model.set_initial_guess_parameter(INTRA, 0.5)
    return model


def make(task, variant, bvals, bvecs):
    from dmipy_fit.core.acquisition_scheme import acquisition_scheme_from_bvalues

    settings = {"solver": "brute2fine", "Ns": 100}
    if variant == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        settings = {"solver": "jax"}
    scheme = acquisition_scheme_from_bvalues(bvals * 1e6, bvecs, delta=0.0106, Delta=0.0431)
    model = {"smt": smt, "mcsmt": mcsmt}[task](variant)

    def fit(signals):
        found = model.fit(scheme, np.asarray(signals, float), **settings).fitted_parameters
        if task == "mcsmt":
            return {"intra": found[INTRA], "diff": found[D] * 1e9}
        par = found[PAR] * 1e9
        perp = found[PERP] * 1e9 if variant == "jax" else found[PERP + "_fraction"] * par
        return {"lambda_par": par, "lambda_perp": perp}

    return fit


if __name__ == "__main__":
    serve(make, "dmipy-fit")
