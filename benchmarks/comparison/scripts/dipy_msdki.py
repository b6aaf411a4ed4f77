"""DIPY's mean signal diffusional kurtosis: a linear fit of the means, from which it derives the parameters of mcSMT."""

from exchange import serve


def make(task, variant, bvals, bvecs):
    from dipy.core.gradients import gradient_table
    from dipy.reconst.msdki import MeanDiffusionKurtosisModel

    model = MeanDiffusionKurtosisModel(gradient_table(bvals, bvecs=bvecs))

    def fit(signals):
        found = model.fit(signals)
        return {"intra": found.smt2f, "diff": found.smt2di * 1e3}

    return fit


if __name__ == "__main__":
    serve(make, "dipy")
