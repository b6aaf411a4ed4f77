"""Fits written by hand, the facts of a run, and what a page says, read as a browser does."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np

import jaxsmt as js
from jaxsmt.fitting.settings import Settings
from jaxsmt.status import Status
from tests.conftest import ACQUISITION

VOID = ("meta", "img", "br", "circle", "path", "rect", "polygon")


def fit_of(n, seed=0, scale=1.0, **rest):
    """A fit of n voxels: half like white matter, a third like grey matter, the rest like fluid at a bound."""
    rng = np.random.default_rng(seed)
    kind = np.repeat([0, 1, 2], [n // 2, n // 3, n - n // 2 - n // 3])
    par = np.choose(kind, (2.1, 1.3, 3.0)) + 0.05 * rng.standard_normal(n)
    ratio = np.clip(np.choose(kind, (0.15, 0.55, 0.98)) + 0.02 * rng.standard_normal(n), 0, 1)
    par, perp = scale * par, scale * par * ratio
    md = (par + 2 * perp) / 3
    fa = np.sqrt((par - perp) ** 2 / (par**2 + 2 * perp**2))
    status = np.where(kind == 2, Status.AT_BOUND, Status.CONVERGED).astype(np.uint8)
    values = {"lambda_par": par, "lambda_perp": perp, "fraction": ratio}
    quality = {"mse": np.full(n, 1e-4), "r2": np.clip(0.99 + 0.002 * rng.standard_normal(n), 0, 1)}
    derived = {"md": md, "fa": fa, "fapow3": fa**3}
    single = [{name: v.astype(np.float32) for name, v in maps.items()} for maps in (values, derived, quality)]
    s0 = (1000 + 20 * rng.standard_normal(n)).astype(np.float32)
    return js.Fit(js.smt(), ACQUISITION, Settings(), single[0], single[1], s0, single[2], status, **rest)


def fods_of(fit, crossing):
    """FODs of these voxels: one lobe along x, and where `crossing` a second one along y."""
    n = fit.status.size
    weight = np.where(crossing[:, None], [0.55, 0.45], [1.0, 0.0]).astype(np.float32)
    kappa = np.where(weight > 0, 20.0, 0.0).astype(np.float32)
    direction = np.zeros((n, 2, 3), np.float32)
    direction[:, 0, 0] = 1
    direction[crossing, 1, 1] = 1
    odi = np.where(weight > 0, 2 / np.pi * np.arctan(1 / 20), 0).astype(np.float32)
    parameters = {"weight": weight, "kappa": kappa, "beta": 0 * kappa, "odi": odi, "direction": direction}
    count, ones = (weight > 0).sum(axis=1).astype(np.uint8), np.ones(n, np.float32)
    model = js.FodModel(fit, "watson", 2)
    codes = np.full(n, Status.CONVERGED, np.uint8)
    return js.FodFit(model, parameters, count, {"mse": 1e-4 * ones, "r2": 0.98 * ones}, codes, ACQUISITION)


def run_of(fit, **changes):
    """What run.json says."""
    counts = {code.name.lower(): fit.count(code) for code in Status}
    return {
        "command": ["jaxsmt", "fit", "<b>.nii"],
        "software": {"name": "jaxsmt", "version": "1.2.3"},
        "versions": {"jax": "0.10.1", "python": "3.11.7"},
        "device": "cpu: cpu",
        "model": "smt",
        "inputs": {"dwi": {"path": "<b>.nii", "sha256": "00ff"}},
        "options": {"noise": "gaussian", "s0": "fit", "spherical_mean": "sh", "fod": "none", "uncertainty": False},
        "shells": [{"b_s_per_mm2": b, "volumes": n} for b, n in ((0.0, 2), (1000.0, 30), (2000.0, 30))],
        "voxels": counts | {"outside": 100},
        "warnings": [],
        "timings_s": {"read": 0.5, "fit": 1.25},
    } | changes


@dataclass
class Read(HTMLParser):
    """A page as it is read: text by element, and what a browser or a screen reader would trip over."""

    text: str
    headings: list = field(default_factory=list)
    images: list = field(default_factory=list)
    charts: list = field(default_factory=list)
    cells: list = field(default_factory=list)
    addresses: list = field(default_factory=list)
    ids: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._open = []
        self.feed(self.text)
        self.close()
        self.problems += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        if tag not in VOID:
            self._open.append(tag)
        self.addresses += [(tag, key, value) for key, value in attrs if key in ("src", "href", "srcset", "action")]
        self.ids += [names["id"]] if "id" in names else []
        if tag == "img":
            self.images.append(names)
        if tag == "svg" and names.get("aria-hidden") != "true":
            self.charts.append(names)
        if tag == "th" and names.get("scope") not in ("row", "col"):
            self.problems.append("a th without scope")
        if tag in ("h1", "h2", "h3"):
            self.headings.append([int(tag[1]), ""])
        if tag in ("th", "td", "caption"):
            self.cells.append([tag, ""])
        if tag == "tr":
            self.cells.append(["tr", ""])

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data):
        if any(tag in self._open for tag in ("h1", "h2", "h3")):
            self.headings[-1][1] += data
        if any(tag in self._open for tag in ("th", "td", "caption")):
            self.cells[-1][1] += data

    @property
    def rows(self):
        """{head of a row: its cells}, of all tables; of equal heads the last one."""
        rows, current = {}, None
        for tag, text in self.cells:
            if tag == "tr":
                current = None
            elif tag == "th" and current is None:
                current = rows[text.strip()] = []
            elif tag == "td" and current is not None:
                current.append(text.strip())
        return rows
