"""Chapters: the pictures, tables and notes that a resource's part of a report has besides its overheads.

A chapter is one module here and one line in CHAPTERS; it reads the stored run and nothing else.
"""

from collections.abc import Mapping

from harness.report.chapters.app import App
from harness.report.chapters.base import Chapter, Drawing
from harness.report.chapters.churn import Churn
from harness.report.chapters.density import Density
from harness.report.chapters.footprint import Footprint
from harness.report.chapters.image import Image
from harness.report.chapters.interference import Interference
from harness.report.chapters.isolation import Isolation
from harness.report.chapters.lifecycle import Lifecycle

__all__ = ["CHAPTERS", "Chapter", "Drawing"]

CHAPTERS: Mapping[str, Chapter] = {
    "density": Density(),
    "lifecycle": Lifecycle(),
    "footprint": Footprint(),
    "interference": Interference(),
    "isolation": Isolation(),
    "app": App(),
    "image": Image(),
    "churn": Churn(),
}
"""By resource."""
