"""What a resource's part of the report has beside its overheads: pictures, tables and notes of its own.

A chapter is one module here and one line in CHAPTERS; it reads the stored run and nothing else.
"""

from collections.abc import Mapping

from harness.report.chapters.base import Chapter, Drawing
from harness.report.chapters.churn import Churn
from harness.report.chapters.image import Image

__all__ = ["CHAPTERS", "Chapter", "Drawing"]

CHAPTERS: Mapping[str, Chapter] = {
    "image": Image(),
    "churn": Churn(),
}
"""By resource."""
