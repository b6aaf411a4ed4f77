"""Residuals of all volumes as a chart and in words: a bad volume stands out."""

from __future__ import annotations

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.volumes import VolumeResiduals
from .charts import Chart, Panel, volumes_chart

_NAMED = 8  # volumes that a sentence names


def remarks(volumes: VolumeResiduals | None) -> list[str]:
    """What is said of volumes that stand out, before all else.

    Args:
        volumes: residuals, if they are known.
    """
    if volumes is None or not volumes.outlying.size:
        return []
    numbers = volumes.outlying
    named = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
    one = len(numbers) == 1
    return [
        f"Volume{'s' * (not one)} {named} (counted from 0) differ{'s' * one} from what the other volumes of the same "
        "shell tell, see Residuals: signal may have been lost, or the head may have moved."
    ]


def of_volumes(volumes: VolumeResiduals | None, acquisition: Acquisition) -> tuple[Chart | None, str]:
    """The chart and its legend; no chart, and the reason, where residuals are not known.

    Args:
        volumes: residuals, if they are known. acquisition: of the series.
    """
    if volumes is None:
        return (
            None,
            "Residuals of volumes are not known: there is no b = 0 volume, there are too few voxels, or the fit made "
            "no report.",
        )
    known = np.isfinite(volumes.mean)
    if not known.any():
        return None, "Residuals of volumes are not known: each shell has one volume."
    worst = int(np.nanargmax(np.abs(volumes.mean)))
    text = (
        f"Residuals of {np.count_nonzero(known)} volumes in {volumes.voxels:,} voxels; the largest mean is "
        f"{100 * volumes.mean[worst]:+.2f} % of the signal at b = 0, of volume {worst}. "
    )
    if volumes.outlying.size:
        text += "Standing out: " + ", ".join(f"{v} ({100 * volumes.mean[v]:+.2f} %)" for v in volumes.outlying[:_NAMED])
    else:
        text += "No volume stands out."
    panels = [
        Panel("mean over voxels, % of the signal at b = 0", 100 * volumes.mean),
        Panel("root mean square over voxels, % of the signal at b = 0", 100 * volumes.spread),
    ]
    return volumes_chart(panels, volumes.shells, volumes.outlying, text), text
