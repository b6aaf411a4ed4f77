"""Acquisition schemes; dmipy's example data are not part of jaxsmt.

`jaxsmt.simulate.coronal_slice` makes a slice in the scheme of the HCP.
"""

from .. import refuse

__getattr__ = refuse(
    "data",
    ("saved_acquisition_schemes",),
    ("saved_data",),
    __name__,
    fix="jaxsmt.simulate.coronal_slice() makes a slice in the scheme of the HCP",
)
