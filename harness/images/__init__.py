"""Build the root once and convert it into the form of each runtime."""

from harness.images.host_kernel import adopt
from harness.images.inventory import verify
from harness.images.store import ensure
from harness.images.system import with_system
from harness.images.transfer import export_root, import_root

__all__ = ["adopt", "ensure", "export_root", "import_root", "verify", "with_system"]
