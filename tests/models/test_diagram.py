"""The picture of a model."""

import numpy as np

import jaxsmt as js
from jaxsmt.models.units import unit_text


def test_diagram_shows_every_parameter(tmp_path):
    model = js.smt_noddi().bound(**{"weight.stick": (0.1, 0.9)}).start(**{"weight.stick": 0.5})
    figure = model.diagram(tmp_path / "model.svg")
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    for name in model.names:
        assert name in said
    for phrase in ("in [0.1, 0.9], starts at 0.5", "= 1.7 µm²/ms", "= stick.lambda_par", "2 free parameters"):
        assert phrase in said
    assert (tmp_path / "model.svg").read_text().startswith("<?xml")
    again = model.diagram(tmp_path / "again.svg")
    assert len(again.axes[0].texts) == len(figure.axes[0].texts)


def test_units_are_written_in_one_way():
    """Micrometres too."""
    assert [unit_text(unit) for unit in ("um2/ms", "um", "", "T")] == [" µm²/ms", " µm", "", " T"]
    written = " ".join(text.get_text() for text in js.sandi().diagram().axes[0].texts)
    assert "in [1, 15] µm" in written
    assert "= 3 µm²/ms" in written


def test_maps_are_not_written_out():
    model = js.smt().fix(lambda_par=np.ones(3)).bound(fraction=(np.zeros(3), 0.5))
    written = " ".join(text.get_text() for text in model.diagram().axes[0].texts)
    assert "= a map µm²/ms" in written
    assert "in [a map, 0.5]" in written
