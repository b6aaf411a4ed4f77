"""Whole numbers that no double holds, and of which Python writes no digits, are refused like any other wrong value."""

import warnings

import pytest

from jaxsmt.errors import InputError, JaxsmtWarning
from tests.inputs import called, memory

HUGE = 10**5000

#: Every argument of a public function that a number may be given for, by accident or not, where a number is wrong too.
CALLS = [
    "js.Acquisition([HUGE] * len(B), G)",
    "js.Acquisition(B, [[HUGE, 0, 0]] * len(B))",
    "js.Acquisition(HUGE, G)",
    "js.Acquisition(B, HUGE)",
    "js.Acquisition(B, G, delta=HUGE, Delta=HUGE)",
    "js.Acquisition(B, G, te=HUGE)",
    "js.Acquisition(B, G, b_delta=HUGE)",
    "js.Acquisition(B, G, b0_threshold=HUGE)",
    "js.Acquisition(B, G, shell_gap=HUGE)",
    "js.Acquisition(B, G, b_unit=HUGE)",
    "js.Acquisition(B, G, axes=HUGE)",
    "js.Acquisition(B, G, spherical_mean=HUGE)",
    "turned(HUGE)",
    "turned([[HUGE, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])",
    "js.fit(HUGE, ACQUISITION, DATA)",
    "js.fit(SMT, HUGE, DATA)",
    "js.fit(SMT, ACQUISITION, HUGE)",
    "js.fit(SMT, ACQUISITION, [HUGE] * len(B))",
    "js.fit(SMT, ACQUISITION, DATA, HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, noise=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, coils=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, noise='rician', coils=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, noise='noncentral-chi', coils=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, noise='noncentral-chi', coils=-HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, sigma=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, sigma=[[HUGE] * 3] * 2)",
    "js.fit(SMT, ACQUISITION, DATA, uncertainty=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, grad_dev=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, prior=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, prior={'fraction': HUGE})",
    "js.fit(SMT, ACQUISITION, DATA, prior={'fraction': (HUGE, 1)})",
    "js.fit(SMT, ACQUISITION, DATA, prior={'fraction': (0.3, HUGE)})",
    "js.fit(SMT, ACQUISITION, DATA, prior={HUGE: (0.3, 0.1)})",
    "js.fit(SMT, ACQUISITION, DATA, s0=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, weights=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, weights=[HUGE, 1, 1])",
    "js.fit(SMT, ACQUISITION, DATA, solver=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, dtype=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, device=HUGE)",
    "js.fit(SMT, ACQUISITION, DATA, spherical_mean=HUGE)",
    "js.estimate(SMT, ACQUISITION, HUGE)",
    "js.estimate(SMT, ACQUISITION, [HUGE] * len(B))",
    "js.estimate(SMT, ACQUISITION, VOXEL, sigma=HUGE)",
    "js.estimate(SMT, ACQUISITION, VOXEL, adjoint=HUGE)",
    "js.estimate(SMT, ACQUISITION, VOXEL, sigma=1.0, prior={'fraction': (HUGE, 1)})",
    "js.estimate(SMT, ACQUISITION, VOXEL, weights=[HUGE, 1, 1])",
    "js.fisher_information(SMT, ACQUISITION, PARAMETERS, HUGE)",
    "js.fisher_information(SMT, ACQUISITION, PARAMETERS, 0.02, s0=HUGE)",
    "js.fisher_information(SMT, ACQUISITION, PARAMETERS | {'lambda_par': HUGE}, 0.02)",
    "js.crlb(SMT, ACQUISITION, PARAMETERS, HUGE)",
    "SMT.signal(ACQUISITION, PARAMETERS | {'lambda_par': HUGE})",
    "SMT.fix(lambda_par=HUGE)",
    "SMT.fix(lambda_par=[HUGE, 1])",
    "SMT.bound(lambda_par=(0.1, HUGE))",
    "SMT.bound(lambda_par=HUGE)",
    "SMT.bound(lambda_par=(HUGE, HUGE, HUGE))",
    "SMT.start(lambda_par=HUGE)",
    "js.SphericalMeanModel(HUGE)",
    "js.SphericalMeanModel({HUGE: js.stick()})",
    "js.SphericalMeanModel(js.stick(), links=HUGE)",
    "js.SphericalMeanModel(js.stick(), name=HUGE)",
    "js.SphericalMeanModel(js.stick(), maps=(HUGE,))",
    "js.SphericalMeanModel(js.stick(), population=HUGE)",
    "js.FodModel(SMT, HUGE)",
    "js.FodModel(SMT, 'watson', HUGE)",
    "js.NormalPrior(('fraction',), (HUGE,), ((1.0,),))",
    "js.NormalPrior(('fraction',), (0.3,), ((HUGE,),))",
    "js.NormalPrior(HUGE, (0.3,), ((1.0,),))",
    "js.NormalPrior((HUGE,), (0.3,), ((1.0,),))",
    "js.NormalPrior.read(HUGE)",
    "js.noncentral_chi(HUGE)",
    "js.levenberg_marquardt(max_steps=HUGE)",
    "js.levenberg_marquardt(rtol=HUGE)",
    "js.first_order(optax.sgd(0.1), steps=HUGE)",
    "js.first_order(optax.sgd(0.1), rtol=HUGE)",
    "js.first_order(HUGE)",
    "js.lbfgs(steps=HUGE)",
    "js.lbfgs(rtol=HUGE)",
    "js.optimistix_minimiser(None, steps=HUGE)",
    "js.optimistix_minimiser(None, rtol=HUGE)",
    "fods().odf(HUGE)",
    "fods().odf(G[1:], odi_floor=HUGE)",
    "fods().sh(lmax=HUGE)",
    "fods().sh(basis=HUGE)",
    "fods().sh(ripple=HUGE)",
    "fods().predict(HUGE)",
    "fitted().predict(HUGE)",
    "fitted().fod_model(HUGE)",
    "fitted().fod_model('watson', HUGE)",
    "fitted().save(HUGE, like='dwi.nii.gz')",
    "fitted().save('/tmp', like=HUGE)",
    "saved(HUGE)",
    "js.simulate.phantom(shape=HUGE)",
    "js.simulate.phantom(shape=(HUGE, 4, 4))",
    "js.simulate.phantom(snr=HUGE)",
    "js.simulate.phantom(seed=-HUGE)",
    "js.simulate.phantom(acquisition=HUGE)",
    "js.simulate.phantom(factors={'s0': HUGE})",
    "js.simulate.phantom(factors={HUGE: 1.0})",
    "js.simulate.coronal_slice(snr=HUGE)",
    "js.simulate.coronal_slab(slices=HUGE)",
    "js.simulate.coronal_slab(slices=-HUGE)",
    "js.simulate.hcp_scheme(n_b0=HUGE)",
    "js.simulate.hcp_scheme(n_directions=HUGE)",
    "js.simulate.hcp_scheme(shells=HUGE)",
    "js.simulate.hcp_scheme(shells=(HUGE,))",
]


@pytest.mark.parametrize("text", CALLS)
def test_a_huge_number_is_refused_in_jaxsmts_own_words(text):
    """Not by Python, which converts no integers of thousands of digits into a text, nor into a double."""
    names = vars(called) | {"HUGE": HUGE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxsmtWarning)
        with memory.at_most(), pytest.raises(InputError) as refused:
            eval(compile(text, "call", "eval"), names)  # of texts of this file alone
    assert refused.value.fix
    assert len(str(refused.value)) < 500
