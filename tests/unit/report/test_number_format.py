"""Numbers as people read them."""

import pytest

from harness.report.markdown import escape
from harness.report.number_format import humane, percent


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0000042, "s", "4.200 µs"), (250.0, "us", "250.0 µs"), (2500.0, "us", "2.500 ms"), (90.0, "s", "90.00 s"),
        (1.35e10, "b/s", "13.50 Gb/s"), (13_500.0, "Mb/s", "13.50 Gb/s"), (80_700.0, "IOPS", "80,700 IOPS"),
        (5.1e6, "1/s", "5.100 M/s"), (1183.0, "events/s", "1,183 events/s"), (8.2e-11, "s/B", "82.00 ps/B"),
        (-0.25, "s", "−250.0 ms"), (0.0, "s", "0.000 s"), (45.3, "MiB", "45.30 MiB"), (12.0, "", "12.00"),
        (None, "s", "–"), (float("nan"), "s", "–"), (3.907e-10, "s/bytes", "390.7 ps/byte"),
    ],
)  # fmt: skip
def test_humane(value: float | None, unit: str, said: str) -> None:
    assert humane(value, unit) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0321, "+3.2 %"), (-0.25, "−25.0 %"), (0.0001, "0.0 %"), (-0.0001, "0.0 %"), (1.0, "2.00×"), (18.7, "19.7×")],
)
def test_percent(value: float, said: str) -> None:
    assert percent(value) == said


def test_markdown_shows_text_as_it_is() -> None:
    assert escape("a|b*c_<i>") == "a\\|b\\*c\\_&lt;i&gt;"
    assert escape("- item") == "\\- item"
    assert escape("1. item") == "1\\. item"
    assert "://" not in escape("http://x")
