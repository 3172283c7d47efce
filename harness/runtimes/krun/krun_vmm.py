"""The process that becomes one guest of libkrun: `krun_vmm.py CONFIG`.

CONFIG is the JSON object that specification.config makes. Standard input and output are the guest's channel, standard
error is the log. It uses only the standard library; on success it never returns, and ends with the guest.
https://github.com/containers/libkrun/blob/main/include/libkrun.h
"""

import ctypes
import json
import os
import sys
from typing import Any

ROOT_TAG = b"/dev/root"
RAW, FULL_SYNC = 0, 2
ERRORS_ONLY = 1


class Refused(Exception):
    """A call of libkrun failed."""


def main() -> int:
    """Make the machine that CONFIG describes and become it."""
    config = json.loads(sys.argv[1])
    try:
        krun = _library(config["library"], config["firmware"])
        _start(krun, config)
    except (OSError, Refused) as error:
        print(f"libkrun: {error}", file=sys.stderr)
    return 1


def _library(path: str, firmware: str) -> ctypes.CDLL:
    """libkrun; it finds its kernel's library by the name of one that is loaded already.

    The binding is lazy, unlike that of ctypes: libkrun may refer to functions of virglrenderer, which a guest without a
    screen does not call.
    """
    ctypes.CDLL(firmware, mode=ctypes.RTLD_GLOBAL)
    loader = ctypes.CDLL(None)
    loader.dlopen.restype = ctypes.c_void_p
    loader.dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    handle = loader.dlopen(os.fsencode(path), os.RTLD_LAZY)
    if not handle:
        raise OSError(f"{path} cannot be loaded")
    return ctypes.CDLL(path, handle=handle)


def _start(krun: ctypes.CDLL, config: dict[str, Any]) -> None:
    call = _caller(krun)
    call("krun_set_log_level", ctypes.c_uint32(ERRORS_ONLY))
    context = ctypes.c_uint32(call("krun_create_ctx"))
    call("krun_set_vm_config", context, ctypes.c_uint8(config["vcpus"]), ctypes.c_uint32(config["memory_mib"]))
    root = config["root"].encode()
    call("krun_add_virtiofs3", context, ROOT_TAG, root, ctypes.c_uint64(0), ctypes.c_bool(True))
    silent = os.open(os.devnull, os.O_RDONLY)
    call("krun_add_virtio_console_default", context, silent, 2, 2)
    ports = ctypes.c_uint32(call("krun_add_virtio_console_multiport", context))
    call("krun_add_console_port_inout", context, ports, b"tare", 0, 1)
    for name, path, read_only in config["disks"]:
        how = (ctypes.c_uint32(RAW), ctypes.c_bool(read_only), ctypes.c_bool(True), ctypes.c_uint32(FULL_SYNC))
        call("krun_add_disk3", context, name.encode(), path.encode(), *how)
    if config["tap"]:
        mac = (ctypes.c_uint8 * 6)(*bytes.fromhex(config["mac"].replace(":", "")))
        features, flags = ctypes.c_uint32(config["features"]), ctypes.c_uint32(0)
        call("krun_add_net_tap", context, config["tap"].encode(), mac, features, flags)
    words, nothing = [word.encode() for word in config["argv"]], (ctypes.c_char_p * 1)(None)
    arguments = (ctypes.c_char_p * len(words))(*words[1:], None)
    call("krun_set_exec", context, words[0], arguments, nothing)
    call("krun_start_enter", context)


def _caller(krun: ctypes.CDLL) -> Any:
    def call(name: str, *arguments: Any) -> int:
        result = int(getattr(krun, name)(*arguments))
        if result < 0:
            raise Refused(f"{name}: {os.strerror(-result)}")
        return result

    return call


if __name__ == "__main__":
    sys.exit(main())
