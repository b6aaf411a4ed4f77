"""Schemes of simulated data."""

import numpy as np

from jaxsmt import simulate


def test_hcp_scheme():
    acquisition = simulate.hcp_scheme()
    assert [len(s.volumes) for s in acquisition.shells] == [18, 90, 90, 90]
    np.testing.assert_allclose(acquisition.b, [0, 1, 2, 3], atol=1e-9)
    assert all(s.order >= 8 for s in acquisition.shells[1:])
