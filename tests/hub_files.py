"""Files of the published data sets in their layouts, and processes that see only a local server."""

import hashlib
import io
import os
import tarfile

from lib import facts, files

FLORES = "nllb/flores200_dataset.tar.gz"


def parquet(columns, features=None) -> bytes:
    """A table as the content of a parquet file."""
    import datasets

    buffer = io.BytesIO()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(buffer)
    return buffer.getvalue()


def archive_of(texts):
    """The FLORES archive with these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"./flores200_dataset/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def params_for(folder, address, flores):
    """Write params/ to `folder`, with the local server in place of the plain file hosts."""
    for file in files.PARAMS.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        for host in ("https://raw.githubusercontent.com", "https://dl.fbaipublicfiles.com"):
            text = text.replace(host, f"{address}/raw")
        checksum = facts.fact("corpora", "flores")["sha256"]
        (folder / file.name).write_text(
            text.replace(checksum, hashlib.sha256(flores).hexdigest()), encoding="utf-8"
        )


def environment_for(folder, address, **more):
    """The environment of a process that sees only the stand-in and keeps everything in `folder`."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("HF_") and "proxy" not in key.lower()
    }
    return clean | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "hf"),
        "STUDY_DATA": str(folder / "data"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(files.ROOT),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **more,
    }
