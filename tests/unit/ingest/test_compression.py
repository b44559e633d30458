"""Content encodings: undone, and bombs stopped at the limit, in memory and in time."""

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

MIB = 2**20
TEXT = b'{"tweet_id":"5"}\n' * 1000


def zstd(data, level=3, *, sized=True):
    return zstandard.ZstdCompressor(level=level, write_content_size=sized).compress(data)


PACK = {"gzip": gzip.compress, "zstd": zstd}


@pytest.fixture(params=["gzip", "zstd"])
def encoding(request):
    return request.param


@pytest.mark.parametrize("name", ["", "identity", " identity "])
def test_none(name):
    assert decompress(TEXT, name, limit=10) == TEXT


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP", " gzip "])
def test_gzip_by_any_of_its_names(name):
    assert decompress(gzip.compress(TEXT), name, limit=MIB) == TEXT


@pytest.mark.parametrize("name", ["br", "deflate", "gzip, gzip", "compress", "lz4"])
def test_another(name):
    with pytest.raises(UnsupportedBody, match="gzip, zstd or none"):
        decompress(TEXT, name, limit=MIB)


def test_one_member(encoding):
    assert decompress(PACK[encoding](TEXT), encoding, limit=MIB) == TEXT


def test_several_members(encoding):
    parts = [b"", b"a", TEXT, b"", os.urandom(100_000), b"z"]
    body = b"".join(map(PACK[encoding], parts))

    assert decompress(body, encoding, limit=MIB) == b"".join(parts)


def test_no_bytes_at_all(encoding):
    assert decompress(b"", encoding, limit=MIB) == b""


def test_a_frame_that_does_not_tell_its_size():
    assert decompress(zstd(TEXT, sized=False), "zstd", limit=MIB) == TEXT


def test_a_streamed_frame():
    target = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(target, closefd=False) as writer:
        for at in range(0, len(TEXT), 777):
            writer.write(TEXT[at : at + 777])
            writer.flush()

    assert decompress(target.getvalue(), "zstd", limit=MIB) == TEXT


def test_skippable_frames():
    """The zstd format lets a producer put notes between frames."""
    note = struct.pack("<II", 0x184D2A50, 4) + b"note"

    assert decompress(note + zstd(TEXT) + note + zstd(b"x"), "zstd", limit=MIB) == TEXT + b"x"


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_up_to_the_limit(encoding, size):
    body = PACK[encoding](b"x" * size)

    assert decompress(body, encoding, limit=1000) == b"x" * size


@pytest.mark.parametrize("size", [1001, 1002, 2000, 5 * MIB])
def test_past_the_limit(encoding, size):
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        decompress(PACK[encoding](b"x" * size), encoding, limit=1000)


def test_members_are_limited_together(encoding):
    member = PACK[encoding](b"x" * 500)
    assert len(decompress(member * 2, encoding, limit=1000)) == 1000
    assert len(decompress(member * 2 + PACK[encoding](b""), encoding, limit=1000)) == 1000
    with pytest.raises(BodyTooLarge):
        decompress(member * 2 + PACK[encoding](b"x"), encoding, limit=1000)


@pytest.mark.parametrize("keep", [1, 5, 12, 0.3, 0.6, 0.99, -1])
def test_cut_short(encoding, keep):
    body = PACK[encoding](os.urandom(5000))
    cut = body[: keep if isinstance(keep, int) else int(len(body) * keep)]

    with pytest.raises(RequestError, match=r"cut short|is not the"):
        decompress(cut, encoding, limit=MIB)
    with pytest.raises(RequestError, match=r"cut short|is not the"):
        decompress(body + cut, encoding, limit=MIB)


@pytest.mark.parametrize("junk", [b"hello", b"\0\1\2", b'{"tweet_id":"5"}'])
def test_something_else(encoding, junk):
    with pytest.raises(RequestError):
        decompress(junk, encoding, limit=MIB)
    with pytest.raises(RequestError):
        decompress(PACK[encoding](TEXT) + junk, encoding, limit=MIB)


@pytest.mark.parametrize("at", [12, 20, -6, -2])
def test_damage(encoding, at):
    """The checksum at the end of a gzip member is checked; zstd's where there is one."""
    packer = zstandard.ZstdCompressor(write_checksum=True)
    body = bytearray(
        gzip.compress(os.urandom(3000)) if encoding == "gzip" else packer.compress(TEXT)
    )
    body[at] ^= 0x5A

    with pytest.raises(RequestError):
        decompress(bytes(body), encoding, limit=MIB)


def zstd_bomb(size):
    """A stream that tells no size, as dense as zstd gets."""
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(size // MIB)) + packer.flush()


def gzip_bomb(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(size // MIB)) + packer.flush()


@pytest.mark.parametrize("bomb", [gzip_bomb, zstd_bomb], ids=["gzip", "zstd"])
def test_a_bomb_is_stopped_at_the_limit(bomb):
    """128 MiB in a few bytes, a limit of 1 MiB, and not much more than that in memory."""
    body = bomb(128 * MIB)
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
    """Memory is taken by the frame's word, so the word is not taken."""
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=30), level=1
    ).compressobj()
    body = packer.compress(TEXT) + packer.flush()

    with pytest.raises(RequestError):
        decompress(body, "zstd", limit=MIB)


def test_very_many_empty_members_take_little_time(encoding):
    """One MiB, which is what a data API body may have, must not keep a worker for seconds."""
    member = PACK[encoding](b"")
    body = member * (MIB // len(member))

    started = time.process_time()
    with pytest.raises(RequestError, match="members"):
        decompress(body, encoding, limit=MIB)
    assert time.process_time() - started < 20


def test_as_many_members_as_a_block_packer_makes_are_fine(encoding):
    """Packers that work in blocks make a member of each; thousands of them are one body."""
    body = PACK[encoding](b"x") * 5000
    assert decompress(body, encoding, limit=MIB) == b"x" * 5000


# Undeclared

EVENT = b'{"tweet_id":"5","type":"favorites","at":"2026-01-01T00:30:00Z","more":[]}\n'
CSV = b"tweet_id,type,at\n" + b"5,favorites,2026-01-01T00:30:00Z\n" * 8


def stored():
    """CSV in zlib that leaves text as it is, of a size that makes its first line text as well."""
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


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("count", [1, 1000])
def test_what_is_packed_and_does_not_say_so_is_not_unpacked(read, pack, count):
    """Whoever reads columns would do it unasked, to any size."""
    intake = read(pack(EVENT * count))
    assert intake.rows.is_empty()
    assert set(intake.rejected.get_column("reason")) == {"malformed"}


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_nor_is_packed_csv(read, pack):
    with pytest.raises(RequestError):
        read(pack(CSV), "csv")


def test_nor_is_csv_that_is_packed_as_text(read):
    body = stored()
    assert body.startswith(b"x\x01\x01\n")
    assert read(body, "csv").rows.is_empty()


@pytest.mark.parametrize("form", ["ndjson", "csv"])
@pytest.mark.parametrize("start", [b"\x1f\x8b\x00\x00", b"(\xb5/\xfd", b"x\x9c", b"x^", b"x\x01\n"])
def test_what_begins_like_it_is_text(read, form, start):
    try:
        assert read(start, form).rows.is_empty()
    except RequestError as error:
        assert form == "csv", error  # noqa: PT017


def test_a_column_may_be_named_as_if_it_were_packed(read):
    assert read(b"x^2," + CSV.replace(b"\n5", b"\n,5"), "csv").rows.height == 8
