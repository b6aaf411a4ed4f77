"""The one place where units meet.

Inside: b in ms/µm², diffusivities in µm²/ms, so that b·λ has no unit and is near 1.
"""

from __future__ import annotations

#: Multiply a b-value in the named unit by this to get ms/µm².
B_TO_MS_PER_UM2 = {"s/mm2": 1e-3, "ms/um2": 1.0, "s/m2": 1e-9}
