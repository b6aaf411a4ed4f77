"""Spherical means of arrays and of streams."""

import numpy as np

from jaxsmt.acquisition.means import MeansAccumulator, spherical_means
from tests.known_means import ACQUISITION, series_of


def test_streamed_means_are_those_of_the_whole_array():
    data = series_of(ACQUISITION).astype(np.float32)
    flat = data.reshape(-1, data.shape[-1])
    accumulator = MeansAccumulator(ACQUISITION.weights, len(flat))
    for i in range(flat.shape[1]):
        accumulator.add(i, flat[:, i])
    expected = ACQUISITION.weights @ flat.T.astype(float)
    np.testing.assert_allclose(accumulator.sums, expected, rtol=1e-6)
    np.testing.assert_allclose(spherical_means(ACQUISITION, data), expected, rtol=1e-12)
    np.testing.assert_allclose(spherical_means(ACQUISITION, np.asfortranarray(data)), expected, rtol=1e-6)
