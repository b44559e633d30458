"""Search all files of a folder for traces of something, as `strings` would."""

from pathlib import Path

Forms = dict[str, bytes]


def forms_of_id(number: int) -> Forms:
    """Return how an id may be stored: as text, and as SQLite and segments write integers.

    Use it for ids of at least 48 bits. The bytes of shorter ones occur by chance.
    """
    assert number >= 2**48
    wide = number.to_bytes(8)
    return {
        f"{number} as text": str(number).encode(),
        f"{number} big-endian": wide.lstrip(b"\0"),
        f"{number} little-endian": wide[::-1].rstrip(b"\0"),
    }


def forms_of_text(text: str) -> Forms:
    """Return how a text may be stored: in any case, in two encodings."""
    texts = {text, text.lower(), text.upper(), text.casefold()}
    return {
        f"{each!r} in {code}": each.encode(code)
        for each in texts
        for code in ("utf-8", "utf-16-le")
    }


def find_traces(folder: Path, forms: Forms) -> list[str]:
    """Name each file that holds any of these forms."""
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # a background thread may remove a file
            continue
        found += [f"{path.name}: {name}" for name, form in forms.items() if form in content]
    return found
