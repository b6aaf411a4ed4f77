"""Wrong calls of Python: each is refused by an error of jaxsmt's own that names what was wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax  # noqa: F401  in the texts of calls
import nibabel as nib
import numpy as np
import optax  # noqa: F401

import jaxsmt as js
from tests.conftest import ACQUISITION

B, G = ACQUISITION.bvals, ACQUISITION.bvecs
SMT = js.smt()
DATA = np.ones((2, 3, len(B)), np.float32)
VOXEL = DATA[0, 0]
MASK = np.ones((2, 3), bool)
NAN = float("nan")
PARAMETERS = {"lambda_par": 2.0, "fraction": 0.2}


@dataclass(frozen=True)
class Call:
    """A wrong call. topic: where it stands in the table. says: what the error must contain, a regular expression."""

    topic: str
    text: str
    says: str

    @property
    def function(self) -> Callable[[], Any]:
        """The call, made of its text with the names of this module."""
        return eval(compile(f"lambda: {self.text}", "call", "eval"), globals())  # of texts of this file alone


@cache
def fitted() -> js.Fit:
    """A fit of two by three voxels, made of arrays, as nothing has to be computed to refuse a call."""
    shape = MASK.shape
    parameters = {name: np.full(shape, value, np.float32) for name, value in SMT_VALUES.items()}
    derived = {name: np.full(shape, 0.5, np.float32) for name in ("md", "fa", "fapow3")}
    one = np.ones(shape, np.float32)
    quality = {"mse": 0 * one, "r2": one}
    return js.Fit(SMT, ACQUISITION, js.Settings(), parameters, derived, one, quality, one.astype(np.uint8))


SMT_VALUES = {"lambda_par": 2.0, "lambda_perp": 0.4, "fraction": 0.2}


@cache
def fods() -> js.FodFit:
    """FODs of one lobe, made of arrays."""
    one = np.ones((*MASK.shape, 1), np.float32)
    parameters = {"weight": one, "odi": 0.1 * one, "kappa": 6 * one, "beta": 0 * one}
    parameters["direction"] = np.broadcast_to(np.array([0, 0, 1], np.float32), (*MASK.shape, 1, 3))
    kernels = fitted()
    status = kernels.status
    return js.FodFit(kernels.fod_model("watson"), parameters, status, kernels.quality, status, ACQUISITION)


def _of(topic: str, *pairs: tuple[str, str]) -> list[Call]:
    return [Call(topic, text, says) for text, says in pairs]


CALLS = [
    *_of(
        "Python: the gradient table",
        ("js.Acquisition(['a'] * len(B), G)", "bvals="),
        ("js.Acquisition('1000 2000', G)", "bvals="),
        ("js.Acquisition(B.tolist()[:-1] + ['x'], G)", "bvals="),
        ("js.Acquisition([[1000.0, 2000.0], [0.0]], G)", "bvals="),
        ("js.Acquisition(B * 1j, G)", "bvals=.*complex"),
        ("js.Acquisition(np.ma.masked_less(B, 1), G)", "bvals= is a masked array"),
        ("js.Acquisition(None, G)", "bvals="),
        ("js.Acquisition({}, G)", "bvals="),
        ("js.Acquisition(js.smt, G)", "bvals="),
        ("js.Acquisition(B[:, None], G)", "shape"),
        ("js.Acquisition(B, [list('abc')] * len(B))", "bvecs="),
        ("js.Acquisition(B, [[1.0, 0.0, 0.0]] * (len(B) - 1) + [[1.0]])", "bvecs="),
        ("js.Acquisition(B, G * 1j)", "bvecs=.*complex"),
        ("js.Acquisition(B, np.ma.masked_invalid(G))", "bvecs= is a masked array"),
        ("js.Acquisition(B, None)", "bvecs="),
        ("js.Acquisition(B, G.T)", r"shape \(3, "),
        ("js.Acquisition(G, B)", "do not match"),
        ("js.Acquisition(B[:-1], G)", "do not match"),
        ("js.Acquisition([], [])", "do not match|no volume|b-values"),
        ("js.Acquisition(-B, G)", "not negative"),
        ("js.Acquisition(np.where(B > 1500, np.inf, B), G)", "finite"),
        ("js.Acquisition(np.where(B > 1500, NAN, B), G)", "finite"),
        ("js.Acquisition(B / 1000, G)", "b_unit='ms/um2'"),
        ("js.Acquisition(B * 1e6, G)", "b_unit='s/m2'"),
        ("js.Acquisition(B, 2 * G)", "length 2"),
        ("js.Acquisition(B, G * NAN)", "not finite"),
        ("js.Acquisition(B, 0 * G)", "length 0"),
        ("js.Acquisition(B, G * np.sqrt(B / 2000)[:, None])", "√b"),
        ("js.Acquisition(B, G, b0_threshold=-1)", "b0_threshold="),
        ("js.Acquisition(B, G, b0_threshold=NAN)", "b0_threshold="),
        ("js.Acquisition(B, G, b0_threshold=np.inf)", "b0_threshold="),
        ("js.Acquisition(B, G, b0_threshold='50')", "b0_threshold="),
        ("js.Acquisition(B, G, b0_threshold=None)", "b0_threshold="),
        ("js.Acquisition(B, G, b0_threshold=[50, 60])", "b0_threshold="),
        ("js.Acquisition(B, G, shell_gap=-100)", "shell_gap="),
        ("js.Acquisition(B, G, shell_gap=0)", "shell_gap="),
        ("js.Acquisition(B, G, shell_gap=NAN)", "shell_gap="),
        ("js.Acquisition(B, G, shell_gap='wide')", "shell_gap="),
        ("js.Acquisition(B, G, b_unit='s/cm2')", "b_unit="),
        ("js.Acquisition(B, G, b_unit=None)", "b_unit="),
        ("js.Acquisition(B, G, b_unit=[1])", "b_unit="),
        ("js.Acquisition(B, G, axes='ras')", "axes="),
        ("js.Acquisition(B, G, spherical_mean='mean')", "spherical_mean="),
        ("js.Acquisition(B, G, delta=12.0)", "both delta= and Delta="),
        ("js.Acquisition(B, G, delta=0.0129, Delta=0.0218)", "in ms, not in s"),
        ("js.Acquisition(B, G, delta=30.0, Delta=10.0)", "δ ≤ Δ"),
        ("js.Acquisition(B, G, delta=-1.0, Delta=10.0)", "δ"),
        ("js.Acquisition(B, G, delta=NAN, Delta=NAN)", "δ"),
        ("js.Acquisition(B, G, delta='12', Delta='20')", "delta="),
        ("js.Acquisition(B, G, delta=[12.0, 13.0], Delta=20.0)", "shape"),
        ("js.Acquisition(B, G, delta=1j, Delta=20.0)", "delta="),
        ("js.Acquisition(B, G, te=0.08)", "in ms, not in s"),
        ("js.Acquisition(B, G, te='80')", "te="),
        ("js.Acquisition(B, G, te=-80.0)", "te="),
        ("js.Acquisition(B, G, b_delta=2.0)", "b_delta="),
        ("js.Acquisition(B, G, b_delta='linear')", "b_delta="),
        ("js.Acquisition(B, G, b_delta=[1.0, 0.0])", "b_delta="),
        ("jax.jit(lambda b: js.Acquisition(b, G).b)(B)", "traced"),
        ("ACQUISITION.with_values(bvals=B[:-1])", "bvals"),
        ("ACQUISITION.with_values(bvals='many')", "bvals"),
        ("ACQUISITION.with_values(bvecs=G[:, :2])", "bvecs"),
        ("js.Acquisition.from_fsl(None, None)", "bval="),
        ("js.Acquisition.from_fsl(3, 4)", "bval="),
        ("js.Acquisition.from_fsl('/nowhere.bval', '/nowhere.bvec')", "/nowhere.bval"),
        ("js.Acquisition.from_mrtrix(None)", "grad="),
        ("js.Acquisition.from_mrtrix(G)", "grad="),
        ("turned(np.zeros((4, 4)))", "affine="),
        ("turned(np.full((4, 4), NAN))", "affine="),
        ("turned(np.diag([2.0, 2.0, 0.0, 1.0]))", "affine="),
        ("turned(np.eye(3)[:2])", "affine="),
        ("turned('eye')", "affine="),
        ("turned(np.eye(4) * 1j)", "affine="),
    ),
    *_of(
        "Python: what is fitted",
        ("js.fit(None, ACQUISITION, DATA)", "model= is"),
        ("js.fit('smt', ACQUISITION, DATA)", "model= is"),
        ("js.fit(js.smt, ACQUISITION, DATA)", r"call it: smt\(\)"),
        ("js.fit(js.SphericalMeanModel, ACQUISITION, DATA)", "model= is"),
        ("js.fit(js.zeppelin(), ACQUISITION, DATA)", "model of one compartment"),
        ("js.fit(fitted(), ACQUISITION, DATA)", "fod_model"),
        ("js.fit(fods(), ACQUISITION, DATA)", "model= is"),
        ("js.fit(ACQUISITION, SMT, DATA)", "model= is"),
        ("js.fit(SMT, DATA, ACQUISITION)", "acquisition= is"),
        ("js.fit(DATA, SMT, ACQUISITION)", "model= is"),
        ("js.fit(SMT, B, DATA)", "acquisition= is"),
        ("js.fit(SMT, None, DATA)", "acquisition= is"),
        ("js.fit(SMT, ACQUISITION, None)", "data="),
        ("js.fit(SMT, ACQUISITION, 'dwi.nii.gz')", "data="),
        ("js.fit(SMT, ACQUISITION, [['a'] * len(B)])", "data="),
        ("js.fit(SMT, ACQUISITION, [[1.0, 2.0], [1.0]])", "data="),
        ("js.fit(SMT, ACQUISITION, DATA * 1j)", "data="),
        ("js.fit(SMT, ACQUISITION, np.ma.masked_less(DATA, 2))", "masked array"),
        ("js.fit(SMT, ACQUISITION, DATA.astype(object))", "data="),
        ("js.fit(SMT, ACQUISITION, DATA > 0)", "data"),
        ("js.fit(SMT, ACQUISITION, 3.0)", "data"),
        ("js.fit(SMT, ACQUISITION, DATA[..., :-1])", "volumes in the data"),
        ("js.fit(SMT, ACQUISITION, np.moveaxis(DATA, -1, 0))", "volumes in the data"),
        ("js.fit(SMT, ACQUISITION, DATA[:0])", "data"),
        ("js.fit(SMT, ACQUISITION, DATA, MASK.T)", "mask of shape"),
        ("js.fit(SMT, ACQUISITION, DATA, DATA)", "mask of shape"),
        ("js.fit(SMT, ACQUISITION, DATA, 0 * MASK)", "mask is empty"),
        ("js.fit(SMT, ACQUISITION, DATA, 'mask.nii.gz')", "mask="),
        ("js.fit(SMT, ACQUISITION, DATA, MASK * 1j)", "mask="),
        ("js.fit(SMT, ACQUISITION, DATA, np.ma.masked_less(MASK * 1, 1))", "masked array"),
        ("js.fit(SMT, ACQUISITION, DATA, [[1, 1, 1], [1]])", "mask="),
        ("js.fit(SMT, ACQUISITION, DATA, MASK * NAN)", "mask is empty"),
        ("jax.jit(lambda d: js.fit(SMT, ACQUISITION, d).s0)(DATA)", "js.estimate"),
        ("jax.vmap(lambda d: js.fit(SMT, ACQUISITION, d).s0)(DATA)", "js.estimate"),
        ("jax.jit(lambda m: js.fit(SMT, ACQUISITION, DATA, m).s0)(MASK)", "js.estimate"),
        ("jax.jit(lambda s: js.fit(SMT, ACQUISITION, DATA, sigma=s, uncertainty=True).s0)(1.0)", "js.estimate"),
        ("jax.jit(lambda b: js.fit(SMT, ACQUISITION.with_values(bvals=b), DATA).s0)(B)", "js.estimate"),
        ("jax.jit(lambda v: js.fit(SMT.fix(fraction=v), ACQUISITION, DATA).s0)(0.2)", "js.estimate"),
    ),
    *_of(
        "Python: options of a fit",
        ("js.fit(SMT, ACQUISITION, DATA, noises='rician')", "no option 'noises'"),
        ("js.fit(SMT, ACQUISITION, DATA, noise='poisson')", "noise="),
        ("js.fit(SMT, ACQUISITION, DATA, noise=None)", "noise="),
        ("js.fit(SMT, ACQUISITION, DATA, noise=3)", "noise="),
        ("js.fit(SMT, ACQUISITION, DATA, coils=2)", "coils="),
        ("js.fit(SMT, ACQUISITION, DATA, noise='noncentral-chi', coils=0)", "coils="),
        ("js.fit(SMT, ACQUISITION, DATA, noise='noncentral-chi', coils=2.5)", "coils="),
        ("js.fit(SMT, ACQUISITION, DATA, noise='noncentral-chi', coils='8')", "coils="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma='30')", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma='auto')", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=0)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=-3.0)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=NAN)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=1j)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=[[1.0, 2.0], [3.0]])", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=True)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=js.smt)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=MASK.T * 1.0, uncertainty=True)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=MASK * 0.0, uncertainty=True)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, sigma=MASK * NAN, uncertainty=True)", "sigma="),
        ("js.fit(SMT, ACQUISITION, DATA, uncertainty='yes')", "uncertainty="),
        ("js.fit(SMT, ACQUISITION, DATA, uncertainty=1)", "uncertainty="),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev='dev.nii.gz')", "grad_dev="),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev=1.0)", "grad_dev="),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev=np.zeros((3, 2, 9)))", "grad_dev="),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev=np.zeros((2, 3, 9)) * 1j)", "grad_dev="),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev=np.full((2, 3, 9), NAN))", "grad_dev="),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev=np.full((2, 3, 9), 3.0))", "grad_dev=.*percent"),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev=np.tile(np.eye(3), (2, 3, 1, 1)))", r"grad_dev=.*I \+ L"),
        ("js.fit(SMT, ACQUISITION, DATA, grad_dev=[[0.0], [0.0, 1.0]])", "grad_dev="),
        ("js.fit(SMT, ACQUISITION, DATA, prior='mine')", "prior="),
        ("js.fit(SMT, ACQUISITION, DATA, prior=3.0)", "prior"),
        ("js.fit(SMT, ACQUISITION, DATA, prior={'md': (1.0, 0.1)})", "prior of 'md'"),
        ("js.fit(SMT, ACQUISITION, DATA, prior={'fraction': 1.0})", "prior"),
        ("js.fit(SMT, ACQUISITION, DATA, prior={'fraction': (0.3, 0.0)})", "prior"),
        ("js.fit(SMT, ACQUISITION, DATA, prior={'fraction': (0.3, NAN)})", "prior"),
        ("js.fit(SMT, ACQUISITION, DATA, prior={'fraction': ('a', 'b')})", "prior"),
        ("js.fit(SMT, ACQUISITION, DATA, prior={3: (0.3, 0.1)})", "prior"),
        ("js.fit(SMT, ACQUISITION, DATA, prior={})", "prior"),
        ("js.fit(SMT, ACQUISITION, DATA, s0='free')", "s0="),
        ("js.fit(SMT, ACQUISITION, DATA, s0=None)", "s0="),
        ("js.fit(SMT, ACQUISITION, DATA, s0=1000.0)", "s0="),
        ("js.fit(SMT, ACQUISITION, DATA, weights=[1.0])", "weights="),
        ("js.fit(SMT, ACQUISITION, DATA, weights='equal')", "weights="),
        ("js.fit(SMT, ACQUISITION, DATA, weights=[1.0, -1.0, 1.0])", "weights="),
        ("js.fit(SMT, ACQUISITION, DATA, weights=[1.0, NAN, 1.0])", "weights="),
        ("js.fit(SMT, ACQUISITION, DATA, weights=[[1.0], [1.0, 2.0]])", "weights="),
        ("js.fit(SMT, ACQUISITION, DATA, weights=np.ones(3) * 1j)", "weights="),
        ("js.fit(SMT, ACQUISITION, DATA, solver='lm')", "solver="),
        ("js.fit(SMT, ACQUISITION, DATA, solver=js.levenberg_marquardt)", "solver=.*call it"),
        ("js.fit(SMT, ACQUISITION, DATA, dtype='float16')", "dtype="),
        ("js.fit(SMT, ACQUISITION, DATA, dtype=np.float32)", "dtype="),
        ("js.fit(SMT, ACQUISITION, DATA, dtype=None)", "dtype="),
        ("js.fit(SMT, ACQUISITION, DATA, device='gpu')", "device="),
        ("js.fit(SMT, ACQUISITION, DATA, device=[])", "device="),
        ("js.fit(SMT, ACQUISITION, DATA, device=0)", "device="),
        ("js.Settings(noise='rice')", "noise="),
        ("js.Settings(sigma='30')", "sigma="),
    ),
    *_of(
        "Python: one voxel",
        ("js.estimate(None, ACQUISITION, VOXEL)", "model= is"),
        ("js.estimate(js.smt, ACQUISITION, VOXEL)", r"call it: smt\(\)"),
        ("js.estimate(js.ball(), ACQUISITION, VOXEL)", "model of one compartment"),
        ("js.estimate(fitted(), ACQUISITION, VOXEL)", "fod_model"),
        ("js.estimate(ACQUISITION, SMT, VOXEL)", "model= is"),
        ("js.estimate(SMT, VOXEL, ACQUISITION)", "acquisition= is"),
        ("js.estimate(SMT, ACQUISITION, DATA)", "jax.vmap"),
        ("js.estimate(SMT, ACQUISITION, VOXEL[:-1])", "volumes in the data"),
        ("js.estimate(SMT, ACQUISITION, VOXEL * 1j)", "signal"),
        ("js.estimate(SMT, ACQUISITION, ['a'] * len(B))", "signal="),
        ("js.estimate(SMT, ACQUISITION, None)", "signal="),
        ("js.estimate(SMT, ACQUISITION, np.ma.masked_less(VOXEL, 2))", "masked array"),
        ("js.estimate(SMT, ACQUISITION, [[1.0], [1.0, 2.0]])", "signal="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, adjoint='forward')", "adjoint="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, solver='lm')", "solver="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, s0='free')", "s0="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, sigma='30')", "sigma="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, sigma=-1.0)", "sigma="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, prior='population')", "sigma="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, sigma=1.0, prior={'fraction': 3})", "prior"),
        ("js.estimate(SMT, ACQUISITION, VOXEL, sigma=1.0, prior={'fraction': ('a', 'b')})", "prior"),
        ("js.estimate(SMT, ACQUISITION, VOXEL, weights=[1.0])", "weights="),
        ("js.estimate(SMT, ACQUISITION, VOXEL, weights='equal')", "weights="),
        ("js.estimate(js.FodModel(SMT, 'watson', 'auto'), ACQUISITION, VOXEL)", "n_fibres="),
        ("js.estimate(fitted().fod_model('watson'), ACQUISITION, VOXEL)", "kernels of 6 voxels"),
        ("js.estimate(SMT.fix(fraction=MASK * 0.2), ACQUISITION, VOXEL)", "maps"),
        ("js.fisher_information(SMT, ACQUISITION, {'lambda_par': 2.0}, 0.02)", "no value of"),
        ("js.fisher_information(None, ACQUISITION, PARAMETERS, 0.02)", "model= is"),
        ("js.fisher_information(SMT, B, PARAMETERS, 0.02)", "acquisition= is"),
        ("js.fisher_information(SMT, ACQUISITION, PARAMETERS, '0.02')", "sigma="),
        ("js.fisher_information(SMT, ACQUISITION, 2.0, 0.02)", "parameters="),
        ("js.fisher_information(SMT, ACQUISITION, PARAMETERS | {'lambda_par': 'x'}, 0.02)", "lambda_par"),
        ("js.fisher_information(SMT, ACQUISITION, PARAMETERS, 0.02, s0='x')", "s0="),
        ("js.crlb(None, ACQUISITION, PARAMETERS, 0.02)", "model= is"),
        ("SMT.signal(ACQUISITION, {'lambda_par': 2.0})", "no value of"),
        ("SMT.signal(ACQUISITION, PARAMETERS | {'md': 1.0})", "not free"),
        ("SMT.signal(B, PARAMETERS)", "acquisition= is"),
        ("SMT.signal(ACQUISITION, PARAMETERS | {'lambda_par': 'x'})", "lambda_par"),
        ("SMT.signal(ACQUISITION, {'lambda_par': np.ones(2), 'fraction': np.ones(3)})", "shape"),
    ),
    *_of(
        "Python: models",
        ("js.SphericalMeanModel(None)", "compartments="),
        ("js.SphericalMeanModel('stick')", "compartments="),
        ("js.SphericalMeanModel(js.stick)", "compartments="),
        ("js.SphericalMeanModel({})", "compartment"),
        ("js.SphericalMeanModel({'stick': js.stick})", "compartments="),
        ("js.SphericalMeanModel({3: js.stick()})", "compartments="),
        ("js.SphericalMeanModel(js.stick(), links='equal')", "links="),
        ("js.SphericalMeanModel(js.stick(), links=[None])", "links="),
        ("js.SphericalMeanModel(js.stick(), links=[js.equal('a', 'b')])", "a|b"),
        ("js.SphericalMeanModel(js.stick(), name='my model')", "my model"),
        ("js.SphericalMeanModel(js.stick(), name=3)", "name="),
        ("js.SphericalMeanModel(js.stick(), maps=('nothing',))", "nothing"),
        ("js.SphericalMeanModel(js.stick(), population=3)", "population="),
        ("SMT.fix(lambda_par=NAN)", "lambda_par"),
        ("SMT.fix(lambda_par=np.inf)", "lambda_par"),
        ("SMT.fix(lambda_par='x')", "lambda_par"),
        ("SMT.fix(lambda_par=None)", "lambda_par"),
        ("SMT.fix(lambda_par=1j)", "lambda_par"),
        ("SMT.fix(lambda_par=-1.0)", "lambda_par"),
        ("SMT.fix(speed=1.0)", "no parameter 'speed'"),
        ("SMT.fix(lambda_perp=1.0)", "link determines"),
        ("SMT.bound(lambda_par=(0.1, NAN))", "lambda_par"),
        ("SMT.bound(lambda_par=(NAN, 2.0))", "lambda_par"),
        ("SMT.bound(lambda_par=(2.0, 1.0))", "lambda_par"),
        ("SMT.bound(lambda_par=(1.0, 1.0))", "lambda_par"),
        ("SMT.bound(lambda_par=(0.1, np.inf))", "lambda_par"),
        ("SMT.bound(lambda_par=('a', 'b'))", "lambda_par"),
        ("SMT.bound(lambda_par=2.0)", "lambda_par"),
        ("SMT.bound(lambda_par=None)", "lambda_par"),
        ("SMT.bound(lambda_par=(0.0, 1.0, 2.0))", "lambda_par"),
        ("SMT.bound(md=(0.1, 2.0))", "md"),
        ("js.fit(SMT.bound(lambda_par=(0.1, MASK * NAN)), ACQUISITION, DATA)", "lambda_par"),
        ("SMT.start(lambda_par=NAN)", "lambda_par"),
        ("SMT.start(lambda_par='x')", "lambda_par"),
        ("SMT.start(speed=1.0)", "speed"),
        ("js.fit(SMT.start(lambda_par=MASK * np.inf), ACQUISITION, DATA)", "lambda_par"),
        ("js.fit(SMT.fix(fraction=MASK * NAN), ACQUISITION, DATA)", "fraction"),
        ("js.fit(SMT.fix(fraction=MASK.T * 0.2), ACQUISITION, DATA)", "map of shape"),
        ("js.fit(SMT.bound(lambda_par=(0.1, MASK * np.inf)), ACQUISITION, DATA)", "lambda_par"),
        ("js.fit(SMT.fix(fraction=0.2, lambda_par=1.7), ACQUISITION, DATA)", "nothing to fit"),
        ("js.FodModel(None, 'watson')", "kernels="),
        ("js.FodModel(js.smt, 'watson')", "kernels=.*call it"),
        ("js.FodModel(js.stick(), 'watson')", "kernels="),
        ("js.FodModel(SMT, None)", "density"),
        ("js.FodModel(SMT, 'gauss')", "density"),
        ("js.FodModel(SMT, ['watson'])", "density"),
        ("js.FodModel(SMT, 'watson', 4)", "n_fibres="),
        ("js.FodModel(SMT, 'watson', 1.5)", "n_fibres="),
        ("js.FodModel(SMT, 'watson', [1])", "n_fibres="),
        ("js.FodModel(SMT, 'watson', None)", "n_fibres="),
        ("js.FodModel(js.SphericalMeanModel(js.ball()), 'watson')", "isotropic"),
        ("js.NormalPrior(('fraction',), ('a',), ((1.0,),))", "prior"),
        ("js.NormalPrior((), (), ())", "prior"),
        ("js.NormalPrior(None, (1.0,), ((1.0,),))", "names="),
        ("js.NormalPrior(('fraction',), (0.3,), ((-1.0,),))", "positive definite"),
        ("js.NormalPrior(('fraction',), (NAN,), ((1.0,),))", "prior"),
        ("js.NormalPrior(('a', 'a'), (0.3, 0.3), np.eye(2))", "repeat"),
        ("js.NormalPrior.read(None)", "path="),
        ("js.NormalPrior.read('/nowhere.json')", "nowhere"),
        ("js.levenberg_marquardt(max_steps=-1)", "max_steps="),
        ("js.first_order(None)", "optimiser="),
        ("js.first_order(optax.sgd(0.1), steps=0)", "steps="),
    ),
    *_of(
        "Python: results",
        ("fods().odf(NAN)", "vertices="),
        ("fods().odf(np.full((4, 3), NAN))", "vertices="),
        ("fods().odf(np.zeros((4, 3)))", "vertices="),
        ("fods().odf(np.ones((4, 3)))", "vertices="),
        ("fods().odf(np.ones((4, 2)))", "vertices="),
        ("fods().odf('sphere')", "vertices="),
        ("fods().odf(None)", "vertices="),
        ("fods().odf(G[1:], odi_floor=NAN)", "odi_floor="),
        ("fods().odf(G[1:], odi_floor='0.1')", "odi_floor="),
        ("fods().odf(G[1:], odi_floor=1.0)", "odi_floor="),
        ("fods().odf(G[1:], odi_floor=-0.1)", "odi_floor="),
        ("fods().sh(lmax=1000)", "lmax="),
        ("fods().sh(lmax=7)", "lmax="),
        ("fods().sh(lmax=-2)", "lmax="),
        ("fods().sh(lmax=4.0)", "lmax="),
        ("fods().sh(lmax='8')", "lmax="),
        ("fods().sh(lmax=None)", "lmax="),
        ("fods().sh(basis='fsl')", "basis"),
        ("fods().sh(basis=None)", "basis"),
        ("fods().sh(ripple=0.5)", "ripple="),
        ("fods().sh(ripple=NAN)", "ripple="),
        ("fods().sh(ripple='none')", "ripple="),
        ("fods().predict(B)", "acquisition= is"),
        ("fods().predict(replace_axes())", "axes"),
        ("fitted().predict(B)", "acquisition= is"),
        ("fitted().fod_model(None)", "density"),
        ("fitted().fod_model('watson', 0)", "n_fibres="),
        ("fitted().save(None, like='dwi.nii.gz')", "folder="),
        ("fitted().save('/tmp', like=None)", "like="),
        ("fitted().save('/tmp', like='/nowhere/dwi.nii.gz')", "/nowhere/dwi.nii.gz"),
        ("fitted().save('/tmp', like=ACQUISITION)", "like="),
        ("saved('../x_')", "prefix='../x_' is not a plain name"),
        ("saved('/x_')", "prefix=.* is not a plain name"),
        ("saved('a/b_')", "prefix=.* is not a plain name"),
        ("saved(3)", "prefix=3 is not a plain name"),
        ("saved('x_')", "maps of shape"),
        ("fitted().count('converged')", "status="),
        ("js.simulate.phantom(shape=(0, 4, 4))", "shape="),
        ("js.simulate.phantom(shape=3)", "shape="),
        ("js.simulate.phantom(shape=(4, 4))", "shape="),
        ("js.simulate.phantom(snr=-1)", "snr="),
        ("js.simulate.phantom(snr=NAN)", "snr="),
        ("js.simulate.phantom(snr='30')", "snr="),
        ("js.simulate.phantom(seed=-1)", "seed="),
        ("js.simulate.phantom(acquisition=B)", "acquisition="),
        ("js.simulate.phantom(factors={'md': 1.0})", "md"),
        ("js.simulate.phantom(factors={'s0': NAN})", "s0"),
        ("js.simulate.hcp_scheme(n_b0=0, n_directions=-1)", "n_directions="),
        ("js.simulate.hcp_scheme(shells=())", "shells="),
    ),
]


def turned(affine: Any) -> Any:
    """An acquisition of files that are there, and an affine that is none."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        bval, bvec = Path(folder, "a.bval"), Path(folder, "a.bvec")
        np.savetxt(bval, B[None])
        np.savetxt(bvec, G.T)
        return js.Acquisition.from_fsl(bval, bvec, affine=affine)


def saved(prefix: Any) -> Any:
    """A fit saved like a series of another grid."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        dwi = Path(folder, "dwi.nii.gz")
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 3), np.float32), np.eye(4)), dwi)
        return fitted().save(Path(folder, "out"), like=dwi, prefix=prefix)


def replace_axes() -> js.Acquisition:
    """The acquisition with directions in other axes than those of the fit."""
    return js.Acquisition(B, G, axes="fsl")
