"""What is given beside the series: tables, masks, maps, options, priors, places of outputs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.conftest import AFFINE
from tests.inputs.case import INF, NAN, B, Case, G
from tests.inputs.files import VOLUMES, Inputs


def _tables() -> Iterator[Case]:
    topic = "Gradient tables: text"
    for which, label in (("bval", "b-values"), ("bvec", "directions")):

        def of(name: str, make: Any, says: str, code: int = 2, w: str = which, what: str = label) -> Case:
            return Case(topic, f"{what}: {name}", lambda i: make(i, getattr(i, w)), says, code)

        def changed(change: Any) -> Callable[[Inputs, Any], None]:
            return lambda i, p: i.text(p, change)

        def written(content: bytes) -> Callable[[Inputs, Any], Any]:
            return lambda i, p: p.write_bytes(content)

        file = f"sub-01_dwi.{which}"
        yield of("missing", lambda i, p: p.unlink(), f"{file}: No such file")
        yield of("empty", written(b""), "holds no numbers")
        yield of("blank lines alone", written(b"\n \n\t\n"), "holds no numbers")
        yield of("a folder", lambda i, p: i.folder_at(p), "is a folder")
        yield of("a pipe", lambda i, p: i.pipe(p), "is a pipe")
        yield of("/dev/zero", lambda i, p: i.link(p, "/dev/zero"), "is a device")
        yield of("20 MB of text", written(b"1 " * 10_000_000), "which no table has")
        yield of("UTF-16", lambda i, p: p.write_bytes(p.read_text().encode("utf-16")), "not plain text")
        yield of("binary", written(bytes(range(256))), "not plain text")
        yield of("Latin-1 text", written("Größe".encode("latin-1")), "not plain text")
        yield of("words", written(b"these are no numbers"), "line 1, column 1: 'these' is not a number")
        yield of("a word among numbers", changed(lambda t: t.replace(" ", " x ", 1)), "'x' is not a number")
        yield of("decimal commas", changed(lambda t: t.replace(".", ",").replace("1000", "1000,5", 1)), "decimal point")
        yield of("1_000", changed(lambda t: t.replace("1", "1_0", 1)), "'.*1_0.*' is not a number")
        yield of("lines of unequal lengths", changed(lambda t: t.rstrip() + " 1\n1\n"), "line|numbers|lines")
        yield of("Windows line ends", lambda i, p: p.write_bytes(p.read_bytes().replace(b"\n", b"\r\n")), "", 0)
        yield of("a byte order mark", lambda i, p: p.write_bytes(b"\xef\xbb\xbf" + p.read_bytes()), "", 0)
        yield of("tabs", changed(lambda t: t.replace(" ", "\t")), "", 0)
        yield of("blank lines between", changed(lambda t: "\n\n" + t.replace("\n", "\n\n")), "", 0)
        yield of("a comment", changed(lambda t: "# from the scanner\n" + t), "", 0)
        yield of("no line end", changed(str.rstrip), "", 0)
        yield of(
            "one number too few", changed(lambda t: "\n".join(x.rsplit(" ", 1)[0] for x in t.splitlines())), "62 vol"
        )
        yield of("one number too many", changed(lambda t: "\n".join(x + " 0" for x in t.splitlines())), "62 vol")
        yield of("transposed", lambda i, p: np.savetxt(p, np.loadtxt(p).T), "", 0)
    yield Case(topic, "both missing", lambda i: i.bval.unlink() or i.bvec.unlink(), "No such file")
    yield Case(topic, "exchanged", lambda i: ["--bval", i.bvec, "--bvec", i.bval], "lines of|one row or column")
    yield Case(topic, "3 × 3 directions", lambda i: i.bvec.write_text("1 1 1\n" * 3), "cannot be told apart")
    topic = "Gradient tables: MRtrix"
    table = np.column_stack([G, B])

    def grad(content: Any) -> Callable[[Inputs], list[Any]]:
        def make(i: Inputs) -> list[Any]:
            path = i.folder / "grad.b"
            np.savetxt(path, content) if isinstance(content, np.ndarray) else path.write_text(content)
            return ["--grad", path]

        return make

    yield Case(topic, "good", grad(table), "", 0)
    yield Case(topic, "three columns", grad(table[:, :3]), "x y z b")
    yield Case(topic, "five columns", grad(np.column_stack([table, B])), "x y z b")
    yield Case(topic, "one row too few", grad(table[1:]), "62 volumes, 61 b-values")
    yield Case(topic, "empty", grad(""), "holds no numbers")
    yield Case(topic, "columns in another order", grad(np.column_stack([B, G])), "length|b-value")
    yield Case(topic, "beside FSL's", lambda i: [*grad(table)(i), "--bval", i.bval], "one gradient table")


def _numbers() -> Iterator[Case]:
    topic = "Gradient tables: numbers"

    def of(name: str, bvals: Any, bvecs: Any, says: str, code: int = 2, *arguments: str) -> Case:
        return Case(topic, name, lambda i: i.tables(bvals, bvecs) or list(arguments), says, code)

    weighted = np.flatnonzero(B > 50)
    one = np.eye(len(B))[weighted[0]] > 0
    yield of("negative b-values", -B, G, "bval.*not negative")
    yield of("one negative b-value", np.where(one, -1000, B), G, "bval.*not negative")
    yield of("an infinite b-value", np.where(one, INF, B), G, "bval.*is inf")
    yield of("a NaN b-value", np.where(one, NAN, B), G, "bval.*is nan")
    yield of("b in ms/µm²", B / 1000, G, "--b-unit ms/um2")
    yield of("b in s/m²", B * 1e6, G, "--b-unit s/m2")
    yield of("b in ms/µm², said", B / 1000, G, "", 0, "--b-unit", "ms/um2")
    yield of("b in s/m², said", B * 1e6, G, "", 0, "--b-unit", "s/m2")
    yield of("another unit than said", B, G, "b-values", 2, "--b-unit", "ms/um2")
    yield of("all b-values 0", 0 * B, G, "at least|found")
    yield of("no b = 0", np.maximum(B, 1000), np.where(B[:, None] < 50, [0, 0, 1], G), "no b = 0 volume")
    yield of("one shell", np.minimum(B, 1000), G, "at least 2 shells")
    yield of("b = 0 written as 5", np.where(B < 50, 5, B), np.where(B[:, None] < 50, [0, 0, 1], G), "", 0)
    yield of("b = 0 written as 100", np.where(B < 50, 100, B), np.where(B[:, None] < 50, [0, 0, 1], G), "no b = 0")
    yield of("b = 0 written as 100, said", np.where(B < 50, 100, B), G, "", 0, "--b0-threshold", "150")
    yield of("shells that drift by 50", B + np.where(B > 50, np.linspace(-40, 40, len(B)), 0), G, "", 0)
    yield of("NaN directions at b = 0", B, np.where(B[:, None] < 50, NAN, G), "", 0)
    yield of("a NaN direction at b > 0", B, np.where(one[:, None], NAN, G), "bvec.*not finite")
    yield of("an infinite direction", B, np.where(one[:, None], INF, G), "bvec.*not finite")
    yield of("directions of length 2", B, 2 * G, "bvec.*length 2")
    yield of("directions scaled by √b", B, G * np.sqrt(B / 2000)[:, None], "√b")
    scaled = G * np.sqrt(B / 2000)[:, None]
    yield of("directions scaled by √b, one b for all", np.where(B > 50, 2000, 0), scaled, r"b = 2000·\|g\|²")
    yield of("one direction 0", B, np.where(one[:, None], 0, G), "length 0")
    yield of("all directions 0", B, 0 * G, "length 0")
    yield of("all directions the same", B, np.where(B[:, None] > 50, [0, 0, 1], G), "too few or too uneven", 0)
    yield of("directions on one side", B, np.where(G[:, 2:] < 0, -G, G), "", 0)
    spread = np.where(B > 50, np.linspace(300, 3000, len(B)), 0)
    yield of("b-values without gaps", spread, G, "gap|shell")
    yield of("a gap larger than between shells", B, G, "shell", 2, "--shell-gap", "5000")
    few = np.concatenate([np.flatnonzero(B < 50), np.flatnonzero(np.isclose(B, 1000))[:4], np.flatnonzero(B > 1500)])
    yield Case(topic, "four directions in a shell", lambda i: i.keep(few), "too few or too uneven", 0)
    yield Case(topic, "two volumes", lambda i: i.keep(np.array([0, 5])), "at least")


def _masks() -> Iterator[Case]:
    topic = "Masks"

    def of(
        name: str, values: Callable[[np.ndarray], np.ndarray], says: str, code: int = 2, affine: Any = AFFINE
    ) -> Case:
        return Case(topic, name, lambda i: i.image("mask.nii.gz", values(i.inside()), affine), says, code)

    yield of("empty", lambda m: 0 * m, "mask is empty")
    yield of("negative alone", lambda m: -m.astype(np.int16), "empty")
    yield of("NaN alone", lambda m: m * np.float32(NAN), "empty")
    yield of("below 0.5 alone", lambda m: m * np.float32(0.3), "empty")
    yield of("another shape", lambda m: np.ones((6, 5, 5), np.uint8), r"mask has dimensions \(6, 5, 5\)")
    yield of("two-dimensional", lambda m: m[:, :, 0], "mask has dimensions")
    yield of("four-dimensional", lambda m: np.repeat(m[..., None], 2, -1), "mask has dimensions")
    yield of("four-dimensional, one volume", lambda m: m[..., None], "", 0)
    yield of("axes exchanged", lambda m: np.ascontiguousarray(m.T), "mask has dimensions")
    moved = AFFINE.copy()
    moved[0, 3] += 5
    yield of("5 mm away", lambda m: m, "mm away", 2, moved)
    yield of("turned", lambda m: m, "mm away", 2, np.diag([-2.0, 2.0, 2.5, 1]))
    near = AFFINE.copy()
    near[0, 3] += 1e-4
    yield of("0.1 µm away", lambda m: m, "", 0, near)
    yield of("probabilities", lambda m: m * np.float32(0.7), "neither 0 nor 1", 0)
    yield of("NaN outside", lambda m: np.where(m > 0, 1, np.float32(NAN)).astype(np.float32), "neither 0 nor 1", 0)
    yield of("labels", lambda m: m * 3, "neither 0 nor 1", 0)
    yield of("255 inside", lambda m: m * 255, "neither 0 nor 1", 0)
    yield of("float64", lambda m: m.astype(float), "", 0)
    yield of("complex", lambda m: m.astype(np.complex64), "complex")
    yield of("one voxel", lambda m: (np.arange(m.size).reshape(m.shape) == 50).astype(np.uint8), "", 0)
    yield Case(topic, "missing", lambda i: i.mask.unlink(), "mask.nii.gz: No such file")
    yield Case(topic, "file empty", lambda i: i.mask.write_bytes(b""), "mask.nii.gz: is empty")
    yield Case(topic, "file damaged", lambda i: i.mask.write_bytes(i.mask.read_bytes()[:-9]), "mask.nii.gz: .*cut")
    yield Case(topic, "a pipe", lambda i: i.pipe(i.mask), "is a pipe")
    yield Case(topic, "text", lambda i: i.mask.write_bytes(gzip.compress(b"text" * 99)), "not a NIfTI file")
    yield Case(topic, "the series itself", lambda i: ["--mask", i.dwi], "mask has dimensions")


def _options() -> Iterator[Case]:
    topic = "Options"
    for words, says in (
        ("--model noddi", "unknown model 'noddi'"),
        ("--model", "expected one argument"),
        ("--model /nowhere/model.py:build", "no such file"),
        ("--model model.py", "unknown model"),
        ("--model sandi", "--delta"),
        ("--model sandi --delta 10", "--delta"),
        ("--model sandi --delta 0.0129 --Delta 0.0218", "in ms, not in s"),
        ("--model sandi --delta 30 --Delta 10", "δ ≤ Δ"),
        ("--model sandi --delta -1 --Delta 10", "δ"),
        ("--model sandi --delta nan --Delta 10", "δ"),
        ("--model sandi --delta 12.9 --Delta 21.8", "at least 5 shells"),
        ("--noise poisson", "invalid choice: 'poisson'"),
        ("--noise noncentral-chi --coils 0", "--coils"),
        ("--noise noncentral-chi --coils 2.5", "invalid int value"),
        ("--noise noncentral-chi --coils x", "invalid int value"),
        ("--coils 4", "without noncentral-chi"),
        ("--sigma 0 --noise rician", "--sigma"),
        ("--sigma -3 --noise rician", "--sigma|expected one argument"),
        ("--sigma nan --noise rician", "--sigma"),
        ("--sigma inf --noise rician", "--sigma"),
        ("--sigma 30,5 --noise rician", "30,5"),
        ("--sigma 3O --noise rician", "3O"),
        ("--sigma missing.nii.gz --noise rician", "missing.nii.gz: No such file"),
        ("--fibres 2", "without an FOD"),
        ("--fod watson --fibres 4", "invalid choice: '4'"),
        ("--fod watson --fibres 0", "invalid choice"),
        ("--fod watson --fibres two", "invalid choice"),
        ("--fod kent", "invalid choice: 'kent'"),
        ("--s0 maximum", "invalid choice"),
        ("--spherical-mean median", "invalid choice"),
        ("--b-unit s/cm2", "invalid choice"),
        ("--b0-threshold -5", "--b0-threshold|expected one argument"),
        ("--b0-threshold nan", "--b0-threshold"),
        ("--b0-threshold inf", "--b0-threshold"),
        ("--b0-threshold many", "invalid float value"),
        ("--shell-gap 0", "--shell-gap"),
        ("--shell-gap=-100", "--shell-gap"),
        ("--shell-gap nan", "--shell-gap"),
        ("--echo-time 0.08", "in ms, not in s"),
        ("--echo-time=-80", "--echo-time"),
        ("--echo-time nan", "echo time|--echo-time"),
        ("--echo-time missing.txt", "missing.txt: No such file"),
        ("--b-shape 2", "--b-shape"),
        ("--b-shape nan", "--b-shape"),
        ("--b-shape missing.txt", "missing.txt: No such file"),
        ("--prior missing.json", "missing.json"),
        ("--grad-dev missing.nii.gz", "missing.nii.gz"),
        ("--dtype float16", "invalid choice"),
        ("--memory-limit much", "--memory-limit"),
        ("--memory-limit=-4G", "--memory-limit"),
        ("--memory-limit nan", "--memory-limit"),
        ("--colour red", "unrecognized arguments"),
        ("--mask", "expected one argument"),
        ("--bval missing.bval", "missing.bval: No such file"),
        ("--bvec missing.bvec", "missing.bvec: No such file"),
        ("second.nii.gz", "unrecognized arguments"),
    ):
        yield Case(topic, f"`{words}`", lambda i, w=words: w.split(), says)


def _maps() -> Iterator[Case]:
    topic = "σ maps"

    def sigma(name: str, values: Any, says: str, code: int = 2, affine: np.ndarray = AFFINE) -> Case:
        def make(i: Inputs) -> list[Any]:
            return ["--noise", "rician", "--sigma", i.image("sigma.nii.gz", values(i.inside()), affine)]

        return Case("σ maps", name, make, says, code)

    yield sigma("good", lambda m: np.ones(m.shape, np.float32), "", 0)
    yield sigma("a zero inside", lambda m: np.zeros(m.shape, np.float32), "sigma.nii.gz: --sigma is not positive")
    yield sigma("negative", lambda m: -np.ones(m.shape, np.float32), "sigma.nii.gz: --sigma is not positive")
    yield sigma("NaN", lambda m: np.full(m.shape, NAN, np.float32), "sigma.nii.gz: --sigma is not positive")
    yield sigma("infinite", lambda m: np.full(m.shape, INF, np.float32), "sigma.nii.gz: --sigma is not positive")
    yield sigma("NaN outside the mask", lambda m: np.where(m > 0, 1, NAN).astype(np.float32), "", 0)
    yield sigma("another shape", lambda m: np.ones((6, 5, 5), np.float32), "sigma map has dimensions")
    yield sigma("four-dimensional", lambda m: np.ones((*m.shape, 2), np.float32), "sigma map has dimensions")
    moved = AFFINE.copy()
    moved[1, 3] += 3
    yield sigma("3 mm away", lambda m: np.ones(m.shape, np.float32), "mm away", 2, moved)
    topic = "Gradient deviations"

    def deviation(name: str, values: Any, says: str, code: int = 2) -> Case:
        return Case(topic, name, lambda i: ["--grad-dev", i.image("dev.nii.gz", values(i.deviation()))], says, code)

    yield deviation("good", lambda d: d, "", 0)
    yield deviation("NaN", lambda d: d * np.float32(NAN), "dev.nii.gz: --grad-dev")
    yield deviation("in percent", lambda d: d * 500, "dev.nii.gz: --grad-dev.*percent")
    yield deviation("I + L", lambda d: d + np.eye(3, dtype=np.float32).ravel(), r"dev.nii.gz: --grad-dev.*I \+ L")
    yield deviation("three volumes", lambda d: d[..., :3], "gradient deviation has dimensions")
    yield deviation("one volume", lambda d: d[..., 0], "gradient deviation has dimensions")
    yield deviation("another grid", lambda d: d[:5], "gradient deviation has dimensions")
    yield Case(topic, "the mask", lambda i: ["--grad-dev", i.mask], "gradient deviation has dimensions")
    topic = "Numbers of each volume"

    def column(option: str, name: str, values: Any, says: str, code: int = 2) -> Case:
        def make(i: Inputs) -> list[Any]:
            path = i.folder / "column.txt"
            path.write_text(values if isinstance(values, str) else " ".join(map(str, values)))
            return [option, path]

        return Case(topic, f"`{option}`: {name}", make, says, code)

    yield column("--echo-time", "good", [80.0] * VOLUMES, "", 0)
    yield column("--echo-time", "one too few", [80.0] * (VOLUMES - 1), "numbers for 62 volumes")
    yield column("--echo-time", "in seconds", [0.08] * VOLUMES, "in ms, not in s")
    yield column(
        "--echo-time", "no b = 0 of its own", [80.0 + (b > 1500) for b in B], "no b = 0 volume at the echo time"
    )
    yield column("--echo-time", "words", "short long", "not a number")
    yield column("--b-shape", "good", [1.0] * VOLUMES, "", 0)
    yield column("--b-shape", "one too many", [1.0] * (VOLUMES + 1), "numbers for 62 volumes")
    yield column("--b-shape", "beyond 1", [1.5] * VOLUMES, "--b-shape")
    yield column("--b-shape", "empty", "", "holds no numbers")


def _priors() -> Iterator[Case]:
    topic = "Priors"

    def prior(name: str, content: Any, says: str, code: int = 2) -> Case:
        def make(i: Inputs) -> list[Any]:
            path = i.folder / "prior.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            return ["--prior", path]

        return Case(topic, name, make, says, code)

    def of(mean: Any, covariance: Any = ((1.0,),), name: str = "lambda_par") -> dict[str, Any]:
        return {"mean": {name: mean}, "covariance": covariance}

    yield prior("good", of(2.0), "", 0)
    yield prior("a mean outside the bounds", of(30.0), "outside the bounds", 0)
    yield prior("in SI units", of(2e-9, ((1e-18,),)), "m²/s", 0)
    yield prior("1e999", '{"mean": {"lambda_par": 1e999}, "covariance": [[1]]}', "prior.json: .*not finite")
    yield prior(
        "a number of 400 digits", '{"mean": {"lambda_par": ' + "9" * 400 + '}, "covariance": [[1]]}', "prior.json"
    )
    yield prior(
        "a number of 5000 digits", '{"mean": {"lambda_par": ' + "9" * 5000 + '}, "covariance": [[1]]}', "no JSON"
    )
    yield prior("NaN", '{"mean": {"lambda_par": NaN}, "covariance": [[1]]}', "not finite")
    yield prior("100,000 brackets", "[" * 100_000, "no JSON")
    yield prior("900 brackets", '{"mean": {"a": 1}, "covariance": ' + "[" * 900 + "]" * 900 + "}", "prior.json")
    yield prior("text for numbers", of("2.0"), "other things than numbers")
    yield prior("a name twice", '{"mean": {"a": 1, "a": 2}, "covariance": [[1]]}', "stands there 2 times")
    yield prior("empty", "", "no JSON")
    yield prior("a list", [1, 2], "no prior")
    yield prior("no covariance", {"mean": {"lambda_par": 1.0}}, "no prior")
    yield prior("an unknown parameter", of(1.0, name="md"), "prior of 'md'")
    yield prior("a negative variance", of(2.0, ((-1.0,),)), "positive definite")
    yield prior("a covariance of another size", of(2.0, ((1.0, 0.0), (0.0, 1.0))), "covariance of")
    yield prior("a covariance that is not symmetric", {"mean": {"lambda_par": 2, "fraction": 0.3},
                "covariance": [[1, 0.5], [0, 1]]}, "not symmetric")  # fmt: skip
    yield Case(topic, "a pipe", lambda i: i.pipe(i.folder / "p.json") or ["--prior", i.folder / "p.json"], "is a pipe")
    yield Case(topic, "no population's", lambda i: ["--model", "ball_stick", "--prior"], "population|prior")


def _outputs() -> Iterator[Case]:
    topic = "Outputs (`fit`)"

    def fit(name: str, make: Any, says: str, code: int = 2) -> Case:
        return Case(topic, name, make, says, code, "fit")

    def taken(name: str) -> Callable[[Inputs], None]:
        def make(i: Inputs) -> None:
            i.out.mkdir()
            (i.out / name).write_bytes(b"earlier")

        return make

    map_name = "sub-01_model-smt_param-lambdapar_dwimap"
    yield fit("a map exists", taken(f"{map_name}.nii.gz"), "exists")
    yield fit("a sidecar exists", taken(f"{map_name}.json"), "exists")
    yield fit("run.json exists", taken("sub-01_run.json"), "exists")
    yield fit("a page exists", taken("report.html"), "exists")
    yield fit(
        "a folder in a map's place", lambda i: (i.out / f"{map_name}.nii.gz").mkdir(parents=True), "exists|folder"
    )
    yield fit("the folder is a file", lambda i: i.out.write_bytes(b""), "out", 73)
    yield fit("the folder is in a file", lambda i: ["-o", i.mask / "out"], "out", 73)
    yield fit("the prefix leads outside", lambda i: ["--prefix", "../x_"], "not a plain name")
    yield fit("the prefix is a folder", lambda i: ["--prefix", "a/b_"], "not a plain name")
    yield fit("the prefix is absolute", lambda i: ["--prefix", "/x_"], "not a plain name")
    yield fit("the mask is an output", _mask_in_outputs(map_name), "would be an output too")
    yield fit("no folder named", lambda i: ["-o"], "expected one argument")
    yield fit("a bad series leaves no folder", lambda i: i.spoil_packed(lambda c: c[:-9]), "cut")
    yield fit("a bad model leaves no folder", lambda i: ["--model", "nothing"], "unknown model")


def _mask_in_outputs(name: str) -> Callable[[Inputs], list[Any]]:
    def make(i: Inputs) -> list[Any]:
        i.out.mkdir()
        mask = i.mask.rename(i.out / f"{name}.nii.gz")
        return ["--mask", mask, "--overwrite"]

    return make


CASES: list[Case] = [
    case for part in (_tables, _numbers, _masks, _maps, _options, _priors, _outputs) for case in part()
]
