"""Random headers, tables, masks and option values: whatever is given, only jaxsmt's own errors come back.

`JAXSMT_EXAMPLES=10000 pytest -m generated` tries more of them.
"""

import json
import os
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxsmt as js
from jaxsmt.app import cli, inputs
from jaxsmt.app.request import Request
from jaxsmt.errors import JaxsmtError, JaxsmtWarning
from jaxsmt.files import gradients, nifti
from jaxsmt.models.priors import NormalPrior
from tests.conftest import AFFINE, SHAPE
from tests.inputs.files import Inputs

pytestmark = pytest.mark.generated
EXAMPLES = int(os.environ.get("JAXSMT_EXAMPLES", "200"))
# Of each of the tests a part; derandomised where few are tried, so that a run can be repeated.
PART = settings(
    max_examples=max(EXAMPLES // 6, 1),
    derandomize=EXAMPLES <= 200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

numbers = st.one_of(st.integers(-(2**31), 2**31 - 1), st.floats(width=32), st.sampled_from([0, 1, -1, 4, 348]))


@pytest.fixture(scope="module")
def given_inputs(tmp_path_factory, series):
    """One good set of inputs, whose files the examples replace."""
    folder = tmp_path_factory.mktemp("generated")
    made = Inputs(folder, series[0])
    made.pack(made.raw())
    made.image("mask.nii.gz", made.inside())
    made.tables()
    return made


def tried(function, *arguments, **options):
    """What a function returns, or None where it refuses; a refusal is jaxsmt's own, and has a fact and a fix."""
    refusal = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", JaxsmtWarning)
        try:
            return function(*arguments, **options)
        except JaxsmtError as error:
            refusal = error
    assert refusal.fact
    assert refusal.fix, refusal
    return None


def read_to_the_end(image):
    for _ in nifti.read_volumes(image):
        pass


@PART
@given(
    fields=st.dictionaries(st.sampled_from(sorted(nib.nifti1.header_dtype.names)), numbers, min_size=1, max_size=4),
    index=st.integers(0, 7),
)
def test_headers(given_inputs, fields, index):
    """Any field of a header with any number: it is opened and read to its end, or refused."""
    raw = given_inputs.raw()
    header = np.frombuffer(raw[:348], nib.nifti1.header_dtype).copy()
    for name, value in fields.items():
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = header.dtype[name].base.kind
            if kind == "S":
                header[0][name] = str(value).encode()
                continue
            value = np.float64(value)
            if kind in "iu":
                limits = np.iinfo(header.dtype[name].base)
                value = int(np.clip(np.nan_to_num(value), limits.min, limits.max))
            if header.dtype[name].shape:
                header[0][name][index % header.dtype[name].shape[0]] = value
            else:
                header[0][name] = value
    given_inputs.pack(header.tobytes() + raw[348:])
    found = tried(inputs.open_inputs, Request(given_inputs.dwi))
    if found is not None:
        tried(read_to_the_end, found.image)
    given_inputs.pack(raw)


@PART
@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda t: t.encode("utf-8", "replace"))))
def test_bytes_of_tables_and_priors(tmp_path_factory, content):
    """Any bytes in the place of a table or of a prior."""
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    for read in (gradients.read_bval, gradients.read_bvec, gradients.read_mrtrix, NormalPrior.read):
        tried(read, path)


table = st.lists(
    st.tuples(st.floats(allow_nan=True, width=32), *[st.floats(-2, 2) | st.sampled_from([np.nan, np.inf])] * 3),
    min_size=1,
    max_size=12,
)
likely = st.lists(
    st.tuples(st.sampled_from([0.0, 5.0, 700.0, 1000.0, 1005.0, 2000.0]), st.integers(0, 40)), min_size=1, max_size=80
)


@PART
@given(
    rows=table,
    more=likely,
    use_likely=st.booleans(),
    threshold=st.floats() | st.sampled_from([0.0, 50.0]),
    gap=st.none() | st.floats() | st.sampled_from([100.0]),
    delta=st.none() | st.floats(),
    te=st.none() | st.floats(),
    mean=st.sampled_from(["sh", "arithmetic", "x"]),
)
def test_gradient_tables(rows, more, use_likely, threshold, gap, delta, te, mean):
    """Any numbers as b-values, directions, thresholds and times: a scheme whose weights are finite, or an error."""
    if use_likely:
        golden = np.array([[np.cos(2.4 * i), np.sin(2.4 * i), 0.5 - i / 41] for _, i in more])
        bvals, bvecs = np.array([b for b, _ in more]), golden / np.linalg.norm(golden, axis=1, keepdims=True)
    else:
        bvals, bvecs = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
    times = {} if delta is None else {"delta": delta, "Delta": delta}
    options = {"b0_threshold": threshold, "shell_gap": gap, "te": te, "spherical_mean": mean, **times}
    acquisition = tried(js.Acquisition, bvals, bvecs, **options)
    if acquisition is None:
        return
    assert np.isfinite(acquisition.weights).all()
    np.testing.assert_allclose(acquisition.weights.sum(axis=1), 1, atol=1e-6)


@PART
@given(data=st.data())
def test_masks(given_inputs, data):
    """Any type, shape and numbers as a mask."""
    dtype = data.draw(st.sampled_from([np.uint8, np.int16, np.float32, np.float64, np.complex64]))
    shape = data.draw(st.sampled_from([SHAPE, (*SHAPE, 1), (*SHAPE, 3), SHAPE[::-1], SHAPE[:2]]))
    values = data.draw(
        st.lists(st.floats(-3, 300) | st.sampled_from([0.0, 1.0, np.nan, np.inf]), min_size=1, max_size=8)
    )
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mask = np.resize(np.array(values), shape).astype(dtype)
    path = given_inputs.image("random.nii.gz", mask, AFFINE * data.draw(st.sampled_from([1.0, 1.0, 1.001, 2.0])))
    found = tried(inputs.open_inputs, Request(given_inputs.dwi, mask=path))
    if found is not None:
        assert found.mask.shape == SHAPE
        assert found.mask.any()


OPTIONS = [
    "--noise", "--coils", "--sigma", "--uncertainty", "--grad-dev", "--prior", "--s0", "--dtype", "--bval", "--bvec",
    "--grad", "--mask", "--b-unit", "--b0-threshold", "--shell-gap", "--delta", "--Delta", "--b-shape", "--echo-time",
    "--spherical-mean", "--model", "--fod", "--fibres", "--memory-limit",
]  # fmt: skip
words = st.one_of(
    st.sampled_from(OPTIONS),
    st.sampled_from(["rician", "watson", "auto", "smt", "sandi", "fit", "mean", "ms/um2", "4G", "float64", "--", "-"]),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=8).filter(lambda t: "\0" not in t),
)


@PART
@given(pairs=st.lists(st.tuples(st.sampled_from(OPTIONS), words), min_size=1, max_size=4))
def test_option_values(given_inputs, pairs):
    """Any value of any option, refused with 2 and a fix before JAX is asked for anything; or accepted."""
    said, refused = StringIO(), False

    def prepare(request, inputs):
        raise _Accepted

    arguments = ["check", str(given_inputs.dwi), *(word for pair in pairs for word in pair)]
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said), redirect_stdout(StringIO()):
        patch.setattr("jaxsmt.app.workflow.prepare", prepare)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JaxsmtWarning)
            try:
                code = cli.main(arguments)
                refused = True
            except SystemExit as end:
                code, refused = end.code, True
            except _Accepted:
                code = 0
    if refused and code != 0:  # --help and --version would be 0
        assert code == 2, said.getvalue()
        assert "fix: " in said.getvalue()
    assert "Traceback" not in said.getvalue()


class _Accepted(Exception):
    """The inputs were found good."""


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@PART
@given(mean=st.dictionaries(st.sampled_from(["lambda_par", "fraction", "x"]), json_values), covariance=json_values)
def test_priors(tmp_path_factory, mean, covariance):
    """Any JSON as a prior."""
    path = tmp_path_factory.getbasetemp() / "prior.json"
    path.write_text(json.dumps({"mean": mean, "covariance": covariance}), "utf-8", "replace")
    prior = tried(NormalPrior.read, path)
    assert prior is None or np.isfinite(prior.rooted(np.float64)[0]).all()
