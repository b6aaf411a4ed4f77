"""dmipy's example data are not part of jaxsmt; `jaxsmt.simulate.coronal_slice` makes a slice of the same scheme."""

from . import refuse

__getattr__ = refuse(
    "data",
    (),
    ("saved_acquisition_schemes", "saved_data"),
    fix="jaxsmt.simulate.coronal_slice() makes a slice in the scheme of the HCP",
)
