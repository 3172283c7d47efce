"""Print what an instance sees of its own confinement, as one JSON object. The instance's Python runs this text.

It only reads files and lists links and devices.
"""

import json
import os
import stat
from pathlib import Path


def read(path: str) -> str:
    """The stripped text of a file; "" if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def devices() -> list[str]:
    """The device nodes below /dev, without pseudo-terminals."""
    found = []
    for folder, folders, names in os.walk("/dev"):
        folders[:] = [name for name in folders if name not in ("pts", "shm", "mqueue", "hugepages")]
        for name in names:
            mode = Path(folder, name).lstat().st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                found.append(str(Path(folder, name)))
    return sorted(found)


def main() -> None:
    """Print the JSON object."""
    print(
        json.dumps(
            {
                "boot_id": read("/proc/sys/kernel/random/boot_id"),
                "version": read("/proc/version"),
                "release": os.uname().release,
                "status": read("/proc/self/status"),
                "lsm": read("/proc/self/attr/current"),
                "modules": len(read("/proc/modules").splitlines()),
                "namespaces": {path.name: str(path.readlink()) for path in Path("/proc/self/ns").iterdir()},
                "devices": devices(),
                "root": next(
                    (line.split()[3] for line in read("/proc/mounts").splitlines() if line.split()[1] == "/"), ""
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
