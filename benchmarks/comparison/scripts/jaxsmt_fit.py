"""jaxsmt with its default settings; the variant names another noise than Gaussian."""

from exchange import TASKS, serve


def make(task, variant, bvals, bvecs):
    import jaxsmt as js

    acquisition = js.Acquisition(bvals, bvecs)
    if task in TASKS:
        density, lobes = TASKS[task]
        model = js.FodModel(js.smt(), density, lobes)
    else:
        model = {"smt": js.smt, "mcsmt": js.mcsmt}[task]()

    def fit(signals):
        found = js.fit(model, acquisition, signals, noise=variant or "gaussian")
        if task not in TASKS:
            return {**found.parameters, **found.derived}
        names = {"direction", "across", "odi", "kappa", "beta", "weight"} & set(found.parameters)
        return {**found.model.kernels.parameters, **{name: found.parameters[name] for name in names}}

    return fit


if __name__ == "__main__":
    serve(make, "jaxsmt")
