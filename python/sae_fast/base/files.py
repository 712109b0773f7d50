# SPDX-License-Identifier: BSD-3-Clause
"""Files that are whole at every moment: whatever befalls a write, the old one is there or the new.

A file is written under a temporary name, synced, and renamed, and then its folder is synced. All
that the package writes, logs aside, goes through `write_file`.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import threading
from pathlib import Path
from typing import IO, Any

from ..errors import DataError
from .checks import check_path

_MOST_KEPT = 40  # characters of a name in a temporary one, which must not be too long either


def _check_regular(path: Path) -> os.stat_result:
    """Return what is known of a file; OSError if it is a folder, a device, a pipe."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return found


def read_file(path: Path) -> bytes:
    """Return a file's bytes; OSError of what has no length, since reading it might not end."""
    _check_regular(path)
    return path.read_bytes()


def write_to(target: Any, data: bytes) -> Any:
    """Write `data` to what a user names, a path or a file open for writing bytes, and return it.

    DataError if it is neither, OSError if it cannot be written.
    """
    if isinstance(target, os.PathLike) or not hasattr(target, "write"):
        return write_file(check_path("path", target), data)
    try:
        written = target.write(data)
    except TypeError as error:
        raise DataError(f"path: expected a file opened in binary mode, got {error}") from error
    if written is not None and written != len(data):  # of an unbuffered one
        raise OSError(errno.EIO, f"only {written:,} of {len(data):,} bytes were written")
    return target


def read_from(source: object) -> tuple[bytes, str]:
    """Return the bytes that a user names, and what to call them.

    `source` is a path, a file open for reading bytes, or bytes; DataError if it is none of them.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "bytes"
    if isinstance(source, os.PathLike) or not hasattr(source, "read"):
        path = check_path("path", source)
        return read_file(path), str(path)
    data = source.read()
    if not isinstance(data, bytes):
        raise DataError(
            f"path: expected a file opened in binary mode, got {type(data).__name__} from it"
        )
    return data, str(getattr(source, "name", "file"))


def check_replaceable(path: Path) -> tuple[Path, os.stat_result | None]:
    """Return what a path leads to, and what is known of it if it is there.

    OSError, which names `path`, if it is there and no regular file: a rename would replace a device
    or a pipe.
    """
    target = Path(os.path.realpath(path))
    try:
        return target, _check_regular(target)
    except FileNotFoundError:
        return target, None
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def open_beside(path: Path) -> tuple[IO[bytes], Path, bool]:
    """Open a temporary file for what `path` is to hold, with the mode and owner of an older one.

    Also returned are what `path` leads to, and whether there is an older one.
    """
    target, old = check_replaceable(path)
    unique = f"{os.getpid()}.{threading.get_ident()}"
    temporary = target.parent / f".{target.name[:_MOST_KEPT]}.{unique}.tmp"
    temporary.unlink(missing_ok=True)  # a leftover, or a link to another file
    file = temporary.open("xb")
    try:
        if old is not None:  # what was private, and whose, stays so
            with contextlib.suppress(AttributeError, PermissionError):  # Windows, others'
                os.chown(temporary, old.st_uid, old.st_gid)
            temporary.chmod(old.st_mode & 0o777)
    except BaseException:
        file.close()
        temporary.unlink(missing_ok=True)
        raise
    return file, target, old is not None


def write_file(path: Path, data: bytes, *, keep: Path | None = None) -> Path:
    """Put `data` into a file and return its path; an older one of this name gets the name `keep`.

    A link is followed, and an older file's mode and owner are kept. OSError, which names `path`, if
    it cannot be written or is no regular file; `path` or, if there was no time to rename both,
    `keep` is then what `path` was before.
    """
    try:
        file, target, existed = open_beside(path)
        temporary = Path(file.name)
        try:
            with file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and existed:
                target.replace(keep)
            temporary.replace(target)
            _sync_folder(target.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    return path


def leftovers(path: Path) -> list[Path]:
    """List what processes that were killed have left of writing a file."""
    return list(path.parent.glob(f".{glob.escape(path.name[:_MOST_KEPT])}.*.tmp"))


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
