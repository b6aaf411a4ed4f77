"""Acquisition schemes of published protocols, as far as these state them."""

from __future__ import annotations

import warnings

import numpy as np

from ... import JaxsmtWarning
from ...geometry.quadrature import gradient_directions
from .. import refuse
from ..core.acquisition_scheme import acquisition_scheme_from_bvalues
from ..schemes import DmipyAcquisitionScheme

__all__ = ["wu_minn_hcp_acquisition_scheme"]
_NOT_COVERED = (
    "duval_cat_spinal_cord_2d_acquisition_scheme",
    "duval_cat_spinal_cord_3d_acquisition_scheme",
    "de_santis_generated_acquisition_scheme",
    "isbi2015_white_matter_challenge_scheme",
    "panagiotaki_verdict_acquisition_scheme",
)
__getattr__ = refuse(
    "data.saved_acquisition_schemes",
    __all__,
    _NOT_COVERED,
    fix="its table is in files that come with the data: acquisition_scheme_from_bvalues takes b-values, directions, "
    "delta and Delta",
)


def wu_minn_hcp_acquisition_scheme() -> DmipyAcquisitionScheme:
    """The scheme of the Wu-Minn HCP: 18 volumes at b = 0 and 90 directions each at 1000, 2000 and 3000 s/mm².

    δ is 10.6 ms and Δ 43.1 ms. Directions and order of the volumes are not those of the project but spread as evenly:
    for its data read the gradient table that comes with them, with `acquisition_scheme_from_bvalues`.

    Returns:
        the scheme of 288 measurements.

    Warns:
        JaxsmtWarning: always, as the directions are others.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     scheme = wu_minn_hcp_acquisition_scheme()
        >>> scheme.number_of_measurements, scheme.shell_bvalues.round(-6).tolist()
        (288, [0.0, 1000000000.0, 2000000000.0, 3000000000.0])

    Source: Sotiropoulos et al. 2013, NeuroImage 80:125, doi:10.1016/j.neuroimage.2013.05.057.
    """
    warnings.warn(
        "the directions and the order of the volumes are not those of the HCP: for its data read their own table",
        JaxsmtWarning,
        stacklevel=2,
    )
    b = np.repeat([0.0, 1e9, 2e9, 3e9], [18, 90, 90, 90])
    directions = np.concatenate([np.zeros((18, 3)), *(gradient_directions(90, seed=i) for i in range(3))])
    return acquisition_scheme_from_bvalues(b, directions, delta=0.0106, Delta=0.0431)
