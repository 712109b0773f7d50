# SPDX-License-Identifier: BSD-3-Clause
"""Files that are whole at every moment: whatever befalls a write, the old one is there or the new.

A file is written under a temporary name, synced, and renamed, and then its folder is synced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from pathlib import Path


def read_file(path: Path) -> bytes:
    """Return a file's bytes; OSError of what has no length, since reading it might not end."""
    if not stat.S_ISREG(path.stat().st_mode):
        code = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(code, "no regular file", str(path))
    return path.read_bytes()


def write_file(path: Path, data: bytes, *, keep: Path | None = None) -> Path:
    """Put `data` into a file and return its path; an older one of this name gets the name `keep`.

    OSError if it cannot be written; `path` or, if there was no time to rename both, `keep` is then
    what `path` was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # a leftover, or a link to another file
        with temporary.open("xb") as file:
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(path.stat().st_mode & 0o777)  # what was private stays so
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None:
            with contextlib.suppress(FileNotFoundError):
                path.replace(keep)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        # the temporary name says nothing to who asked for another
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
