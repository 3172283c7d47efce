"""openssl 3 `speed -mr -elapsed -seconds S [-bytes N] ALGORITHM` (one algorithm, one size).

Fields for a cipher or digest: `bytes_per_second`, `block_bytes`. For an ECDSA curve: `sign_per_second`,
`verify_per_second` (1/s), `key_bits`.
"""

from harness.readers.base import NUMBER, Parameters, Reader

_BYTES = rf"\+F:[0-9]+:[A-Za-z0-9_-]+:{NUMBER}"
_HEADER = r"\+H:([0-9]{1,12})"
_ECDSA = rf"\+F4:[0-9]+:([0-9]{{2,5}}):{NUMBER}:{NUMBER}"


class Openssl(Reader):
    """The rate of one algorithm."""

    tool = "openssl"
    fields = ("bytes_per_second", "block_bytes", "sign_per_second", "verify_per_second", "key_bits")

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for a result that is missing, cut or duplicated."""
        text = self.text(stdout)
        if "+F4:" in text:
            bits, sign, verify = self.only(_ECDSA, text, "+F4 result").groups()
            return {
                "sign_per_second": self.figure(float(sign), "sign rate"),
                "verify_per_second": self.figure(float(verify), "verify rate"),
                "key_bits": self.figure(int(bits), "key size"),
            }
        size, rate = self.only(_HEADER, text, "+H size")[1], self.only(_BYTES, text, "+F result")[1]
        return {
            "bytes_per_second": self.figure(float(rate), "rate"),
            "block_bytes": self.figure(int(size), "block size"),
        }
