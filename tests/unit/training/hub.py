"""The layout of Hugging Face's cache. https://huggingface.co/docs/huggingface_hub/guides/manage-cache"""

from __future__ import annotations

import os
from pathlib import Path

from training.registry import digest_of

REVISION = "0123456789abcdef0123456789abcdef01234567"


def snapshot(folder: Path, at: Path) -> Path:
    """A folder's files as a download to the cache at ``at`` has them: links to blobs, which their digests name."""
    made = at / "snapshots" / REVISION
    (at / "blobs").mkdir(parents=True)
    for file in folder.rglob("*"):
        link = made / file.relative_to(folder)
        if file.is_file():
            blob = at / "blobs" / digest_of(file)
            blob.write_bytes(file.read_bytes())
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    return made
