"""zstd 1.5 `-q -bN -iS FILE` (quiet benchmark mode, one level, one file).

Fields: `compress_bytes_per_second` and `decompress_bytes_per_second` (bytes/s of uncompressed data; zstd's MB is 10^6
bytes), `ratio` (uncompressed over compressed size), `level`, `input_bytes`, `compressed_bytes`.
"""

from collections.abc import Mapping

from harness.readers.output import MEGA, NUMBER, Fields, figure, lines_of, only

TOOL = "zstd"
_HEADER = r"bench [0-9.]+ *: input ([0-9]{1,15}) bytes, [0-9]+ seconds, [0-9]+ KB blocks *"
_RESULT = rf"-([0-9]{{1,2}}) +([0-9]{{1,15}}) +\({NUMBER}\) +{NUMBER} MB/s +{NUMBER} MB/s +\S+ *"


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for a line that is missing, cut or there twice."""
    text = lines_of(TOOL, stdout)
    header = only(TOOL, _HEADER, text, "input size")
    level, size, ratio, compress, decompress = only(TOOL, _RESULT, text, "result").groups()
    return Fields(
        TOOL,
        {
            "compress_bytes_per_second": figure(TOOL, float(compress) * MEGA, "compression rate"),
            "decompress_bytes_per_second": figure(TOOL, float(decompress) * MEGA, "decompression rate"),
            "ratio": figure(TOOL, float(ratio), "ratio"),
            "level": figure(TOOL, int(level), "level"),
            "input_bytes": figure(TOOL, int(header[1]), "input size"),
            "compressed_bytes": figure(TOOL, int(size), "compressed size"),
        },
    )
