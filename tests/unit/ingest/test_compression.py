"""Content encodings are decoded, within limits of size, memory and time."""

import gzip
import io
import os
import struct
import time
import tracemalloc
import zlib

import pytest
import zstandard

from openengagement.errors import BodyTooLarge, RequestError, UnsupportedBody
from openengagement.http.decompression import decompress
from support.cases import cases

MIB = 2**20
TEXT = b'{"tweet_id":"5"}\n' * 1000


def zstd(data, level=3, *, sized=True):
    return zstandard.ZstdCompressor(level=level, write_content_size=sized).compress(data)


PACK = {"gzip": gzip.compress, "zstd": zstd}


@pytest.fixture(params=["gzip", "zstd"])
def encoding(request):
    return request.param


@pytest.mark.parametrize("name", ["", "identity", " identity "])
def test_bodies_without_an_encoding_are_unchanged(name):
    assert decompress(TEXT, name, limit=10) == TEXT


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP", " gzip "])
def test_gzip_has_several_names(name):
    assert decompress(gzip.compress(TEXT), name, limit=MIB) == TEXT


@cases("name", ["br", "deflate", "gzip, gzip", "compress", "lz4"])
def test_other_encodings_are_refused(name):
    with pytest.raises(UnsupportedBody, match="gzip, zstd or none"):
        decompress(TEXT, name, limit=MIB)


def test_one_member_is_decoded(encoding):
    assert decompress(PACK[encoding](TEXT), encoding, limit=MIB) == TEXT


def test_several_members_are_joined(encoding):
    parts = [b"", b"a", TEXT, b"", os.urandom(100_000), b"z"]
    body = b"".join(map(PACK[encoding], parts))

    assert decompress(body, encoding, limit=MIB) == b"".join(parts)


def test_an_empty_body(encoding):
    assert decompress(b"", encoding, limit=MIB) == b""


def test_a_frame_that_does_not_declare_its_size():
    assert decompress(zstd(TEXT, sized=False), "zstd", limit=MIB) == TEXT


def test_a_streamed_frame():
    target = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(target, closefd=False) as writer:
        for index in range(0, len(TEXT), 777):
            writer.write(TEXT[index : index + 777])
            writer.flush()

    assert decompress(target.getvalue(), "zstd", limit=MIB) == TEXT


def test_skippable_frames():
    """The zstd format allows notes between frames."""
    note = struct.pack("<II", 0x184D2A50, 4) + b"note"

    assert decompress(note + zstd(TEXT) + note + zstd(b"x"), "zstd", limit=MIB) == TEXT + b"x"


@cases("size", [0, 1, 999, 1000])
def test_bodies_up_to_the_limit_are_decoded(encoding, size):
    body = PACK[encoding](b"x" * size)

    assert decompress(body, encoding, limit=1000) == b"x" * size


@cases("size", [1001, 1002, 2000, 5 * MIB])
def test_bodies_past_the_limit_are_refused(encoding, size):
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        decompress(PACK[encoding](b"x" * size), encoding, limit=1000)


def test_members_are_limited_together(encoding):
    member = PACK[encoding](b"x" * 500)
    assert len(decompress(member * 2, encoding, limit=1000)) == 1000
    assert len(decompress(member * 2 + PACK[encoding](b""), encoding, limit=1000)) == 1000
    with pytest.raises(BodyTooLarge):
        decompress(member * 2 + PACK[encoding](b"x"), encoding, limit=1000)


@cases("keep", [1, 5, 12, 0.3, 0.6, 0.99, -1])
def test_truncated_bodies_are_refused(encoding, keep):
    body = PACK[encoding](os.urandom(5000))
    cut = body[: keep if isinstance(keep, int) else int(len(body) * keep)]

    with pytest.raises(RequestError, match=r"cut short|is not the"):
        decompress(cut, encoding, limit=MIB)
    with pytest.raises(RequestError, match=r"cut short|is not the"):
        decompress(body + cut, encoding, limit=MIB)


@cases("junk", [b"hello", b"\0\1\2", b'{"tweet_id":"5"}'])
def test_other_bytes_are_refused(encoding, junk):
    with pytest.raises(RequestError):
        decompress(junk, encoding, limit=MIB)
    with pytest.raises(RequestError):
        decompress(PACK[encoding](TEXT) + junk, encoding, limit=MIB)


@cases("at", [12, 20, -6, -2])
def test_damaged_bodies_are_refused(encoding, at):
    """The checksum of a gzip member is verified, and that of a zstd frame if it has one."""
    packer = zstandard.ZstdCompressor(write_checksum=True)
    body = bytearray(
        gzip.compress(os.urandom(3000)) if encoding == "gzip" else packer.compress(TEXT)
    )
    body[at] ^= 0x5A

    with pytest.raises(RequestError):
        decompress(bytes(body), encoding, limit=MIB)


def zstd_bomb(size):
    """A stream without a declared size, as dense as zstd can be."""
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(size // MIB)) + packer.flush()


def gzip_bomb(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(size // MIB)) + packer.flush()


@pytest.mark.parametrize("bomb", [gzip_bomb, zstd_bomb], ids=["gzip", "zstd"])
def test_a_bomb_is_stopped_at_the_limit(bomb):
    """64 MiB in a few bytes, with a limit of 1 MiB, must not take much more memory than that."""
    body = bomb(64 * MIB)
    assert len(body) < MIB

    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decompress(body, bomb.__name__.removesuffix("_bomb"), limit=MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * MIB


def test_a_frame_that_claims_a_huge_window():
    """The decoder would allocate what the frame claims, so such a frame is refused."""
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=30), level=1
    ).compressobj()
    body = packer.compress(TEXT) + packer.flush()

    with pytest.raises(RequestError):
        decompress(body, "zstd", limit=MIB)


def test_very_many_empty_members_take_little_time(encoding):
    """A body of 1 MiB, the limit of the data API, must not occupy a worker for seconds."""
    member = PACK[encoding](b"")
    body = member * (MIB // len(member))

    started = time.process_time()
    with pytest.raises(RequestError, match="members"):
        decompress(body, encoding, limit=MIB)
    assert time.process_time() - started < 20


def test_thousands_of_members_are_accepted(encoding):
    """Programs that compress in blocks, such as bgzip, make a member of each block."""
    body = PACK[encoding](b"x") * 5000
    assert decompress(body, encoding, limit=MIB) == b"x" * 5000


# Compressed bodies without a Content-Encoding

EVENT = b'{"tweet_id":"5","type":"favorites","at":"2026-01-01T00:30:00Z","more":[]}\n'
CSV = b"tweet_id,type,at\n" + b"5,favorites,2026-01-01T00:30:00Z\n" * 8


def stored():
    """CSV in uncompressed zlib blocks, sized so that the first line is text too."""
    row = b"5,favorites,2026-01-01T00:30:00Z\n"
    data = b"tweet_id,type,at\n" + row * 14 + b"0" * 10 + row
    assert len(data) == 512 + 10
    return zlib.compress(data, 0)


PACKED = {
    "gzip": gzip.compress,
    "zstd": zstd,
    **{
        f"zlib {level}": lambda data, level=level: zlib.compress(data, level) for level in (1, 6, 9)
    },
}


@cases("pack", PACKED.values(), ids=PACKED)
@cases("count", [1, 1000])
def test_undeclared_compression_is_not_decoded(read, pack, count):
    """The data frame library would decompress such a body by itself, without a limit."""
    parsed = read(pack(EVENT * count))
    assert parsed.rows.is_empty()
    assert set(parsed.rejected.get_column("reason")) == {"malformed"}


@cases("pack", PACKED.values(), ids=PACKED)
def test_undeclared_compression_of_csv_is_not_decoded(read, pack):
    with pytest.raises(RequestError):
        read(pack(CSV), "csv")


def test_csv_in_uncompressed_zlib_blocks_is_not_decoded(read):
    body = stored()
    assert body.startswith(b"x\x01\x01\n")
    with pytest.raises(RequestError, match="names no column"):
        read(body, "csv")


@cases("form", ["ndjson", "csv"])
@cases("start", [b"\x1f\x8b\x00\x00", b"(\xb5/\xfd", b"x\x9c", b"x^", b"x\x01\n"])
def test_text_that_begins_like_compressed_data_is_text(read, form, start):
    try:
        assert read(start, form).rows.is_empty()
    except RequestError as error:
        assert form == "csv", error  # noqa: PT017


def test_a_column_name_may_begin_like_compressed_data(read):
    assert read(b"x^2," + CSV.replace(b"\n5", b"\n,5"), "csv").rows.height == 8
