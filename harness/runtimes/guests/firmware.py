"""The host's UEFI firmware for guests (OVMF)."""

from pathlib import Path

UEFI: tuple[tuple[Path, Path], ...] = (
    # Debian and Ubuntu: package ovmf
    (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
    # Fedora: package edk2-ovmf
    (Path("/usr/share/edk2/ovmf/OVMF_CODE.fd"), Path("/usr/share/edk2/ovmf/OVMF_VARS.fd")),
)
"""Code, and the template for an instance's variables; none of them enforces Secure Boot."""


def uefi() -> tuple[Path, Path] | None:
    """Code and the variables' template, None where the host has no such firmware."""
    return next((pair for pair in UEFI if all(path.is_file() for path in pair)), None)
