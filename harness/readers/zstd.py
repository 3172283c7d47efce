"""zstd 1.5 `-q -bN -iS FILE` (quiet benchmark mode, one level, one file).

Fields: `compress_bytes_per_second` and `decompress_bytes_per_second` (bytes/s of uncompressed data; zstd's MB is 10^6
bytes), `ratio` (uncompressed over compressed size), `level`, `input_bytes`, `compressed_bytes`.
"""

from harness.readers.base import MEGA, NUMBER, Parameters, Reader

_HEADER = r"bench [0-9.]+ *: input ([0-9]{1,15}) bytes, [0-9]+ seconds, [0-9]+ KB blocks *"
_RESULT = rf"-([0-9]{{1,2}}) +([0-9]{{1,15}}) +\({NUMBER}\) +{NUMBER} MB/s +{NUMBER} MB/s +\S+ *"


class Zstd(Reader):
    """Rates and ratio of one level."""

    tool = "zstd"
    fields = (
        "compress_bytes_per_second",
        "decompress_bytes_per_second",
        "ratio",
        "level",
        "input_bytes",
        "compressed_bytes",
    )

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for a line that is missing, cut or duplicated."""
        text = self.text(stdout)
        header = self.only(_HEADER, text, "input size")
        level, size, ratio, compress, decompress = self.only(_RESULT, text, "result").groups()
        return {
            "compress_bytes_per_second": self.figure(float(compress) * MEGA, "compression rate"),
            "decompress_bytes_per_second": self.figure(float(decompress) * MEGA, "decompression rate"),
            "ratio": self.figure(float(ratio), "ratio"),
            "level": self.figure(int(level), "level"),
            "input_bytes": self.figure(int(header[1]), "input size"),
            "compressed_bytes": self.figure(int(size), "compressed size"),
        }
