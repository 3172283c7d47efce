"""Which kernel guests boot: the host's own where its image and modules are at hand, and in words why not."""

from pathlib import Path

import pytest

from harness.images.host_kernel import adopt
from harness.images.recipe import Guest
from harness.model import RootForms

RELEASE = "6.9.0-test"
GUEST = Guest(kernel="linux-image", busybox="busybox-static", modules=("virtio_blk",), also=("xen-blkfront",))


@pytest.fixture
def root(tmp_path: Path) -> RootForms:
    initramfs = tmp_path / "initramfs"
    initramfs.write_bytes(b"the root's own")
    return RootForms(
        digest="0123456789abcdef",
        directory=tmp_path,
        tar=tmp_path / "tar",
        disk=tmp_path / "disk",
        kernel=tmp_path / "kernel",
        initramfs=initramfs,
        kernel_release="6.1-cloud",
    )


def host(folder: Path, *, image: bool = True, module: bool = True) -> dict[str, Path]:
    boot, libraries = folder / "boot", folder / "modules"
    boot.mkdir()
    (libraries / RELEASE / "kernel").mkdir(parents=True)
    if image:
        (boot / f"vmlinuz-{RELEASE}").write_bytes(b"a kernel")
    if module:
        (libraries / RELEASE / "kernel/virtio_blk.ko").write_bytes(b"\0depends=\0an ELF file")
    return {"boot": boot, "libraries": libraries}


def test_the_hosts_kernel_comes_with_its_modules_behind_the_roots_initramfs(root: RootForms, tmp_path: Path) -> None:
    own, said = adopt(root, GUEST, 0, tmp_path / "store", **host(tmp_path), release=RELEASE)
    assert own.kernel.read_bytes() == b"a kernel" and own.kernel_release == RELEASE and own.digest == root.digest
    assert own.initramfs.read_bytes().startswith(b"the root's own070701")
    assert b"modules/virtio_blk.ko" in own.initramfs.read_bytes() and b"virtio_blk.ko\n" in own.initramfs.read_bytes()
    assert said == f"guests boot the host's kernel {RELEASE}"


@pytest.mark.parametrize(
    ("has", "why"),
    [
        ({"image": False}, f"the host's kernel image {RELEASE} is not in"),
        (
            {"module": False},
            f"the host's kernel {RELEASE} cannot boot a guest: the guest's kernel has no module virtio_blk",
        ),
    ],
)
def test_without_image_or_module_the_root_stays_as_it_is(
    root: RootForms, tmp_path: Path, has: dict[str, bool], why: str
) -> None:
    own, said = adopt(root, GUEST, 0, tmp_path / "store", **host(tmp_path, **has), release=RELEASE)
    assert own is root and why in said and said.startswith("guests boot the distribution's kernel 6.1-cloud: ")
