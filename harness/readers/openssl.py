"""openssl 3 `speed -mr -elapsed -seconds S [-bytes N] ALGORITHM` (one algorithm, one size).

Fields for a cipher or digest: `bytes_per_second`, `block_bytes`. For an ECDSA curve: `sign_per_second`,
`verify_per_second` (1/s), `key_bits`.
"""

from collections.abc import Mapping

from harness.readers.output import NUMBER, Fields, figure, lines_of, only

TOOL = "openssl"
_BYTES = rf"\+F:[0-9]+:[A-Za-z0-9_-]+:{NUMBER}"
_HEADER = r"\+H:([0-9]{1,12})"
_ECDSA = rf"\+F4:[0-9]+:([0-9]{{2,5}}):{NUMBER}:{NUMBER}"


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for a result that is missing, cut or there twice."""
    text = lines_of(TOOL, stdout)
    if "+F4:" in text:
        bits, sign, verify = only(TOOL, _ECDSA, text, "+F4 result").groups()
        figures = {
            "sign_per_second": figure(TOOL, float(sign), "sign rate"),
            "verify_per_second": figure(TOOL, float(verify), "verify rate"),
            "key_bits": figure(TOOL, int(bits), "key size"),
        }
        return Fields(TOOL, figures)
    size = only(TOOL, _HEADER, text, "+H size")[1]
    rate = only(TOOL, _BYTES, text, "+F result")[1]
    return Fields(
        TOOL,
        {
            "bytes_per_second": figure(TOOL, float(rate), "rate"),
            "block_bytes": figure(TOOL, int(size), "block size"),
        },
    )
