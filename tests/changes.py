"""Changes of the files that a test gives: each is a function of the folder that they lie in."""

import json
import shutil


def both(*changes):
    """Several changes, one after the other."""
    return lambda place: [change(place) for change in changes]


def file(name: str, content=None):
    """Another content of a file, as text or bytes; without it the file goes."""

    def write(place):
        if content is None:
            (place / name).unlink()
        else:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def part(name: str, change):
    """Other bytes of a file: what `change` makes of its own."""
    return lambda place: (place / name).write_bytes(change((place / name).read_bytes()))


def values(name: str, **changes):
    """Other values in a JSON file."""
    return part(name, lambda content: json.dumps(json.loads(content) | changes).encode())


def moved(old: str, new: str):
    """A file or folder under another name."""

    def move(place):
        (place / new).parent.mkdir(parents=True, exist_ok=True)
        (place / old).rename(place / new)

    return move


def folder(name: str):
    """A new folder."""
    return lambda place: (place / name).mkdir(parents=True)


def gone(name: str):
    """A folder that is no longer there."""
    return lambda place: shutil.rmtree(place / name)
