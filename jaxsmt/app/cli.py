"""The command line. JAX is loaded only by the commands that compute."""

from __future__ import annotations

import argparse
import io
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..acquisition.units import B_TO_MS_PER_UM2
from ..errors import InputError, JaxsmtError, JaxsmtWarning
from ..files import outputs
from . import catalogue, requests, workflow


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 bad input, 73 cannot write, 75 no resources."""
    argv = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(argv)
    try:
        return options.run(options, ["jaxsmt", *argv])
    except JaxsmtError as error:
        print(f"jaxsmt: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"jaxsmt: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 73
    except MemoryError:
        print("jaxsmt: out of memory\n  fix: free some memory and run the same command again", file=sys.stderr)
        return 75
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxsmt", description="Microstructure maps from multi-shell diffusion MRI (Spherical Mean Technique)."
    )
    parser.add_argument("--version", action="version", version=f"jaxsmt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    inputs = argparse.ArgumentParser(add_help=False)
    inputs.add_argument("dwi", type=Path, metavar="DWI", help="diffusion series, .nii or .nii.gz")
    inputs.add_argument("--bval", type=Path, help="FSL b-values (default: beside DWI, same stem)")
    inputs.add_argument("--bvec", type=Path, help="FSL directions (default: beside DWI, same stem)")
    inputs.add_argument("--grad", type=Path, metavar="F.b", help="MRtrix gradient table instead of bval and bvec")
    inputs.add_argument("--mask", type=Path, help="voxels to fit: integers above 0, or floats above 0.5")
    inputs.add_argument(
        "--model",
        default="smt",
        metavar="MODEL",
        help=f"{', '.join(catalogue.PRESETS)}, or FILE.py:FUNCTION, a function of yours that returns a "
        "SphericalMeanModel (default: %(default)s)",
    )
    inputs.add_argument(
        "--fod",
        choices=["none", "watson", "bingham"],
        default="none",
        help="also fit fibre orientation distributions (default: none)",
    )
    inputs.add_argument(
        "--fibres",
        type=_fibres,
        metavar="N",
        help="lobes of a FOD: 1, 2, 3, or auto, 0 to 3 by BIC in each voxel (default: 1)",
    )
    inputs.add_argument(
        "--spherical-mean",
        choices=["sh", "arithmetic"],
        default="sh",
        help="of a shell: harmonic least squares, or plain mean (default: %(default)s)",
    )
    inputs.add_argument(
        "--noise",
        choices=["gaussian", "rician"],
        default="gaussian",
        help="rician: magnitudes, whose noise floor shall not bias the fit (default: %(default)s)",
    )
    inputs.add_argument(
        "--sigma",
        default="auto",
        metavar="S",
        help="noise of one volume in units of DWI: a number, a map (NIfTI), or auto, from residuals (default: auto)",
    )
    inputs.add_argument(
        "--grad-dev", type=Path, metavar="F", help="gradient deviation as of the HCP: 9 volumes, L of g' = (I + L)g"
    )
    inputs.add_argument(
        "--prior",
        nargs="?",
        const="population",
        metavar="F",
        help="weak prior of the parameters: of a population, or {mean, covariance} in a JSON file (default: none)",
    )
    inputs.add_argument("--b-unit", choices=list(B_TO_MS_PER_UM2), default="s/mm2", help="default: %(default)s")
    inputs.add_argument(
        "--b0-threshold", type=float, default=50.0, metavar="B", help="s/mm², up to it is b = 0 (default: 50)"
    )

    compute = argparse.ArgumentParser(add_help=False)
    compute.add_argument("--device", choices=["auto", "cpu", "gpu"], default="auto", help="default: %(default)s")
    compute.add_argument("--quiet", action="store_true", help="say only what is wrong")

    fit = commands.add_parser("fit", parents=[inputs, compute], help="fit a model in every voxel and write its maps")
    fit.add_argument("-o", "--out", type=Path, required=True, help="folder for the maps")
    fit.add_argument("--s0", choices=["fit", "mean"], default="fit", help="fit S0, or fix it to the b = 0 mean")
    fit.add_argument("--uncertainty", action="store_true", help="also write standard deviations, desc-sd_param-...")
    fit.add_argument("--prefix", help="of the file names (default: from DWI's name)")
    fit.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default: %(default)s")
    fit.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    fit.add_argument("--no-report", action="store_true", help="write no report.html")
    fit.set_defaults(run=_fit)

    check = commands.add_parser("check", parents=[inputs], help="say what fit would do with these files; fits nothing")
    check.set_defaults(run=_check)

    demo = commands.add_parser("demo", parents=[compute], help="simulate a brain slice, fit it, show the truth beside")
    demo.add_argument("-o", "--out", type=Path, default=Path("jaxsmt-demo"), help="default: %(default)s")
    demo.set_defaults(run=_demo)

    doctor = commands.add_parser("doctor", help="versions, devices and a numeric self-test")
    doctor.add_argument("--device", choices=["auto", "cpu", "gpu"], default="auto", help="default: %(default)s")
    doctor.set_defaults(run=_doctor)
    return parser


def _fibres(text: str) -> int | str:
    if text not in ("1", "2", "3", "auto"):
        raise argparse.ArgumentTypeError("1, 2, 3 or auto")
    return text if text == "auto" else int(text)


def _fit(options: argparse.Namespace, command: list[str]) -> int:
    request = _request(options, out=options.out)
    screen = _Screen(options.quiet)
    with screen:
        outcome = workflow.run_fit(request, screen.progress, command)
    _warn(outcome.run["warnings"])
    screen.say(_summary(outcome))
    return 0


def _request(options: argparse.Namespace, out: Path) -> requests.Request:
    known = requests.Request.__dataclass_fields__
    given = {name: value for name, value in vars(options).items() if name in known}
    return requests.Request(**{**given, "out": out, "report": not getattr(options, "no_report", False)})


def _summary(outcome: workflow.Outcome) -> str:
    run = outcome.run
    voxels = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in run["voxels"].items() if count and name != "outside"
    )
    seconds = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in run["timings_s"].items())
    fods = ""
    if "fibres" in run:
        fods = "fibres: " + ", ".join(f"{n} in {count} voxels" for n, count in run["fibres"].items()) + "\n"
    return f"voxels: {voxels}\n{fods}times: {seconds}\nmaps and report in {outcome.files[0].parent}"


def _check(options: argparse.Namespace, command: list[str]) -> int:
    request = _request(options, out=Path())
    inputs = requests.open_inputs(request)
    image, mask = inputs.image, inputs.mask
    scaled = "" if (image.slope, image.inter) == (1, 0) else f", scaled by {image.slope:g} and {image.inter:+g}"
    print(f"{image.path}: {' × '.join(map(str, image.shape))} {image.dtype.name}{scaled}")
    for shell in inputs.acquisition.shells:
        noise = f", noise {shell.amplification:.3f} × that of a plain mean" if shell.order else ""
        print(f"  {shell}{noise}")
    print(f"  mask: {mask.sum()} of {mask.size} voxels")
    snr, errors = requests.expected_errors(request, inputs)
    print(f"  least standard deviations to expect at {snr}:")
    for tissue, each in errors.items():
        told = ", ".join(f"{name} {value:.3g} ± {sd:.2g}{unit}" for name, value, sd, unit in each)
        print(f"    {tissue}: {told}")
    memory = requests.memory_estimate(request, inputs)
    print(f"  the {request.entry.name} fit would take about {memory / 2**20:.0f} MiB for data and maps")
    _warn(inputs.warnings)
    print("no problems found in the headers and tables; the data themselves are verified when they are read")
    return 0


def _demo(options: argparse.Namespace, command: list[str]) -> int:
    import numpy as np

    from .. import simulate
    from ..files import nifti
    from ..report import glyphs, maps

    outputs.make_folder(options.out)
    if any(options.out.iterdir()):
        raise InputError("is not empty", file=options.out, fix="choose another folder with -o")
    screen = _Screen(options.quiet)
    screen.say("simulating a coronal slice with the HCP scheme: b = 0, 1000, 2000, 3000 s/mm², Rician noise, SNR 50")
    phantom = simulate.coronal_slice()
    dwi, mask = options.out / "slice_dwi.nii.gz", options.out / "slice_mask.nii.gz"
    nifti.write_image(dwi, phantom.data, like=None, affine=phantom.affine)
    nifti.write_image(mask, phantom.mask.astype(np.uint8), like=None, affine=phantom.affine)
    # FSL's x axis points the other way, as the affine's determinant is positive.
    table = phantom.acquisition.bvecs * [-1, 1, 1]
    for name, rows in (("slice_dwi.bval", phantom.acquisition.bvals[None]), ("slice_dwi.bvec", table.T)):
        text = "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows)
        nifti.write_bytes(options.out / name, text.encode())
    for name, values in phantom.truth.items():
        path = options.out / f"truth_{name.replace('_', '')}.nii.gz"
        nifti.write_image(path, values, like=None, affine=phantom.affine)

    request = requests.Request(
        dwi=dwi, out=options.out, mask=mask, noise="rician", fod="watson", fibres="auto", device=options.device
    )
    with screen:
        outcome = workflow.run_fit(request, screen.progress, command)
    fitted = {**outcome.fit.parameters, "s0": outcome.fit.s0}
    shown = {name: fitted[name] for name in phantom.truth}
    figure = maps.draw_maps([("fitted", shown), ("truth", phantom.truth)], phantom.mask)
    picture = options.out / "maps_and_truth.png"
    nifti.write_bytes(picture, maps.to_png(figure))
    assert outcome.fods is not None
    figure = glyphs.draw_glyphs(outcome.fods, outcome.fit.parameters["lambda_perp"], phantom.mask, phantom.affine)
    fod_picture = options.out / "fods.png"
    nifti.write_bytes(fod_picture, maps.to_png(figure))
    _warn(outcome.run["warnings"])
    screen.say(_summary(outcome))
    for name in ("lambda_par", "lambda_perp"):
        error = np.abs(shown[name] - phantom.truth[name])[phantom.mask]
        screen.say(f"|{name} - truth|: median {np.median(error):.3f} µm²/ms")
    voxels, seconds = int(phantom.mask.sum()), outcome.run["timings_s"]["fit"]
    screen.say(f"{voxels} voxels fitted in {seconds:.3f} s: {voxels / max(seconds, 1e-3):,.0f} voxels/s")
    screen.say(f"look at {picture}, {fod_picture} and {options.out / 'report.html'}")
    return 0


def _doctor(options: argparse.Namespace, command: list[str]) -> int:
    from ..batch import engine
    from . import doctor

    good = True
    for finding in doctor.examine(engine.find_device(options.device)):
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.what}: {finding.fact}", flush=True)
        good = good and finding.good
    print("this machine computes what it should" if good else "this machine computes wrong numbers: do not use it")
    return 0 if good else 1


def _warn(texts: Sequence[str]) -> None:
    for text in texts:
        print(f"warning: {text}", file=sys.stderr)


class _Screen:
    """Progress: a bar on a terminal, a line a stage elsewhere."""

    def __init__(self, quiet: bool):
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bar = None
        self._stage = self._said = ""
        self._since = 0.0

    def say(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)

    def progress(self, stage: str, done: int, total: int) -> None:
        if self._quiet:
            return
        if stage != self._stage:
            self.close()
            self._stage, self._since = stage, time.perf_counter()
            if self._terminal:
                from tqdm import tqdm

                unit = {"read": "volumes", "write": "maps"}.get(stage, "voxels")
                self._bar = tqdm(total=total, desc=stage, unit=f" {unit}", file=sys.stderr)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
        elif done == total and stage != self._said:
            self._said = stage
            print(f"{stage}: {total} in {time.perf_counter() - self._since:.1f} s", file=sys.stderr, flush=True)

    def __enter__(self) -> _Screen:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {message}", file=sys.stderr)


def entry() -> None:
    """The `jaxsmt` program."""
    warnings.filterwarnings("always", category=JaxsmtWarning)
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that is no text must not end the program
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
