"""dmipy's acquisition schemes."""

import numpy as np
import pytest

from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues, gtab_dipy2dmipy
from tests.dmipy.examples import SCHEME, B, G, smt_model


def test_scheme():
    assert SCHEME.number_of_measurements == 183
    np.testing.assert_allclose(SCHEME.shell_bvalues, [0, 1e9, 2e9, 3e9])
    np.testing.assert_array_equal(np.bincount(SCHEME.shell_indices), [3, 60, 60, 60])
    # b = (γGδ)²(Δ - δ/3): 56 mT/m at b = 1000 s/mm² with these timings, as dmipy prints.
    assert 1e3 * SCHEME.shell_gradient_strengths[1] == pytest.approx(56, abs=0.5)
    assert SCHEME.acquisition.shells[1].delta == pytest.approx(10.6)

    class Table:
        bvals, bvecs, small_delta, big_delta = B * 1e-6, G, 0.0106, 0.0431

    np.testing.assert_allclose(gtab_dipy2dmipy(Table()).gradient_strengths, SCHEME.gradient_strengths)
    assert acquisition_scheme_from_bvalues(B, G).gradient_strengths is None
    acquisition_scheme_from_bvalues(B, G, delta=np.where(B > 0, 0.01, 0), Delta=np.where(B > 0, 0.03, 0))
    for b, g, message in (
        (B[None], G, "one-dimensional"),
        (B[:5], G, "same length"),
        (-B, G, "zero or positive"),
        (B, 2 * G, "not unit vectors"),
    ):
        with pytest.raises(ValueError, match=message):
            acquisition_scheme_from_bvalues(b, g)
    with pytest.warns(UserWarning, match="No b0 measurements"):
        nothing = acquisition_scheme_from_bvalues(B[3:], G[3:])
    with pytest.raises(ValueError, match="must have b0-measurements"):
        smt_model().fit(nothing, np.ones((2, 180)))


def test_printed_scheme_is_dmipys(capsys):
    assert SCHEME.print_acquisition_info is None
    assert "1           |60        |1000            |56                       |10.6       |43.1      |N/A  " in (
        capsys.readouterr().out.splitlines()
    )
