"""How acquisition schemes are made, in SI units."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from ... import InputError
from .. import refuse
from ..schemes import DmipyAcquisitionScheme

__all__ = ["DmipyAcquisitionScheme", "acquisition_scheme_from_bvalues", "gtab_dipy2dmipy"]
_NOT_COVERED = (
    "get_sh_order_from_bval",
    "RotationalHarmonicsAcquisitionScheme",
    "SphericalMeanAcquisitionScheme",
    "acquisition_scheme_from_qvalues",
    "acquisition_scheme_from_gradient_strengths",
    "acquisition_scheme_from_schemefile",
    "unify_length_reference_delta_Delta",
    "calculate_shell_bvalues_and_indices",
    "check_acquisition_scheme",
    "gtab_dmipy2dipy",
)
__getattr__ = refuse("acquisition_scheme", __all__, _NOT_COVERED)


def acquisition_scheme_from_bvalues(
    bvalues: ArrayLike,
    gradient_directions: ArrayLike,
    delta: ArrayLike | None = None,
    Delta: ArrayLike | None = None,
    TE: ArrayLike | None = None,
    min_b_shell_distance: float = 50e6,
    b0_threshold: float = 10e6,
) -> DmipyAcquisitionScheme:
    """The scheme of these b-values and directions.

    Args:
        bvalues: (measurements,) s/m².
        gradient_directions: (measurements, 3) unit vectors; zeros at b = 0.
        delta: pulse duration, s, a number or (measurements,); None: unknown.
        Delta: pulse separation, s, a number or (measurements,); None: unknown.
        TE: echo time, s, a number or (measurements,) of one value; None: unknown.
        min_b_shell_distance: b-values that are further apart belong to different shells, s/m².
        b0_threshold: measurements up to this b-value count as b = 0, s/m².

    Returns:
        the scheme.

    Raises:
        InputError: shapes do not match, b-values or times are negative, directions are no unit vectors.
        NotCoveredError: several echo times.

    Example:
        >>> import jaxsmt as js
        >>> table = js.simulate.hcp_scheme(n_b0=2, n_directions=12)  # b-values in s/mm²
        >>> scheme = acquisition_scheme_from_bvalues(table.bvals * 1e6, table.bvecs)
        >>> scheme.N_shells, scheme.number_of_b0s, scheme.shell_bvalues[1:].round().tolist()
        (4, 2, [1000000000.0, 2000000000.0, 3000000000.0])
    """
    return DmipyAcquisitionScheme(bvalues, gradient_directions, delta, Delta, TE, min_b_shell_distance, b0_threshold)


def gtab_dipy2dmipy(
    dipy_gradient_table: Any, min_b_shell_distance: float = 50e6, b0_threshold: float = 10e6
) -> DmipyAcquisitionScheme:
    """The scheme of a DIPY gradient table.

    Args:
        dipy_gradient_table: whatever has `bvals` in s/mm² and `bvecs`, and perhaps `small_delta` and `big_delta` in s.
        min_b_shell_distance: b-values that are further apart belong to different shells, s/m².
        b0_threshold: measurements up to this b-value count as b = 0, s/m².

    Returns:
        the scheme.

    Raises:
        InputError: the table is none, or its numbers cannot be a scheme.
    """
    table = dipy_gradient_table
    if not all(hasattr(table, name) for name in ("bvals", "bvecs")):
        raise InputError("Input must be a dipy GradientTable object. ")
    delta, Delta = (getattr(table, name, None) for name in ("small_delta", "big_delta"))
    if delta is None or Delta is None:
        delta = Delta = None
    return acquisition_scheme_from_bvalues(
        table.bvals * 1e6,
        table.bvecs,
        delta,
        Delta,
        min_b_shell_distance=min_b_shell_distance,
        b0_threshold=b0_threshold,
    )
