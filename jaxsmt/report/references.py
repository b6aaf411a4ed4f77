"""What a page cites, and the ranges of healthy adults that it compares with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A publication.

    Attributes:
        text: authors, title, journal, year, pages.
        url: where it is found.
    """

    text: str
    url: str


def _doi(text: str, doi: str) -> Reference:
    return Reference(f"{text} doi:{doi}", f"https://doi.org/{doi}")


#: By a short key.
REFERENCES = {
    "kaden2016": _doi(
        "Kaden E, Kruggel F, Alexander DC. Quantitative mapping of the per-axon diffusion coefficients in brain white "
        "matter. Magn Reson Med 2016;75:1752–1763.",
        "10.1002/mrm.25734",
    ),
    "kaden2016mc": _doi(
        "Kaden E, Kelm ND, Carson RP, Does MD, Alexander DC. Multi-compartment microscopic diffusion imaging. "
        "NeuroImage 2016;139:346–359.",
        "10.1016/j.neuroimage.2016.06.002",
    ),
    "behrens2003": _doi(
        "Behrens TEJ, Woolrich MW, Jenkinson M, et al. Characterization and propagation of uncertainty in "
        "diffusion-weighted MR imaging. Magn Reson Med 2003;50:1077–1088.",
        "10.1002/mrm.10609",
    ),
    "zhang2012": _doi(
        "Zhang H, Schneider T, Wheeler-Kingshott CA, Alexander DC. NODDI: practical in vivo neurite orientation "
        "dispersion and density imaging of the human brain. NeuroImage 2012;61:1000–1016.",
        "10.1016/j.neuroimage.2012.03.072",
    ),
    "palombo2020": _doi(
        "Palombo M, Ianus A, Guerreri M, et al. SANDI: a compartment-based model for non-invasive apparent soma and "
        "neurite imaging by diffusion MRI. NeuroImage 2020;215:116835.",
        "10.1016/j.neuroimage.2020.116835",
    ),
    "koay2006": _doi(
        "Koay CG, Basser PJ. Analytically exact correction scheme for signal extraction from noisy magnitude MR "
        "signals. J Magn Reson 2006;179:317–322.",
        "10.1016/j.jmr.2006.01.016",
    ),
    "constantinides1997": _doi(
        "Constantinides CD, Atalar E, McVeigh ER. Signal-to-noise measurements in magnitude images from NMR phased "
        "arrays. Magn Reson Med 1997;38:852–857.",
        "10.1002/mrm.1910380524",
    ),
    "mardia2000": _doi("Mardia KV, Jupp PE. Directional statistics. Wiley 2000.", "10.1002/9780470316979"),
    "bingham1974": _doi(
        "Bingham C. An antipodally symmetric distribution on the sphere. Ann Stat 1974;2:1201–1225.",
        "10.1214/aos/1176342874",
    ),
    "schwarz1978": _doi(
        "Schwarz G. Estimating the dimension of a model. Ann Stat 1978;6:461–464.", "10.1214/aos/1176344136"
    ),
    "helenius2002": Reference(
        "Helenius J, Soinne L, Perkiö J, et al. Diffusion-weighted MR imaging in normal human brains in various age "
        "groups. AJNR Am J Neuroradiol 2002;23:194–199.",
        "https://pmc.ncbi.nlm.nih.gov/articles/PMC7975251/",
    ),
    "pierpaoli1996": _doi(
        "Pierpaoli C, Jezzard P, Basser PJ, Barnett A, Di Chiro G. Diffusion tensor MR imaging of the human brain. "
        "Radiology 1996;201:637–648.",
        "10.1148/radiology.201.3.8939209",
    ),
    "kozak2010": _doi(
        "Kozak LR, Bango M, Szabo M, Rudas G, Vidnyanszky Z, Nagy Z. Using diffusion MRI for measuring the temperature "
        "of cerebrospinal fluid within the lateral ventricles. Acta Paediatr 2010;99:237–243.",
        "10.1111/j.1651-2227.2009.01528.x",
    ),
    "sakai2012": _doi(
        "Sakai K, Yamada K, Sugimoto N. Calculation methods for ventricular diffusion-weighted imaging thermometry: "
        "phantom and volunteer studies. NMR Biomed 2012;25:340–346.",
        "10.1002/nbm.1755",
    ),
}


@dataclass(frozen=True)
class Range:
    """What healthy adults show.

    Attributes:
        tissue: key of the region of `models.regions` that it belongs to.
        name: of the tissue. low, high: of the quantity. sources: keys of references.
    """

    tissue: str
    name: str
    low: float
    high: float
    sources: tuple[str, ...]


#: b-value in ms/µm² at which the apparent diffusivities below were measured, against b = 0.
APPARENT_B = 1.0
#: Apparent diffusivities in µm²/ms: of tissue, the ranges of 80 healthy adults; of ventricles, those of water at the
#: temperatures of the body and of the warmest estimate in healthy adults, 37 and 39.9 °C, by the calibration
#: D = 4392.21 exp(-2256.74 K/T) µm²/ms.
APPARENT_DIFFUSIVITIES = (
    Range("wm", "white matter", 0.62, 0.79, ("helenius2002", "pierpaoli1996")),
    Range("gm", "deep grey matter", 0.64, 0.83, ("helenius2002",)),
    Range("gm", "cortex", 0.78, 1.09, ("helenius2002",)),
    Range("fluid", "ventricles", 3.04, 3.25, ("kozak2010", "sakai2012")),
)


class Bibliography:
    """Numbers the references of a page in the order in which they are cited."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def cite(self, *keys: str) -> str:
        """The mark of references in a text.

        Args:
            keys: of `REFERENCES`.

        Example:
            >>> Bibliography().cite("kaden2016", "zhang2012")
            '[1, 2]'
        """
        for key in keys:
            if key not in self._keys:
                self._keys.append(key)
        return "[" + ", ".join(str(self._keys.index(key) + 1) for key in keys) + "]"

    @property
    def references(self) -> list[Reference]:
        """Those that were cited, in order."""
        return [REFERENCES[key] for key in self._keys]
