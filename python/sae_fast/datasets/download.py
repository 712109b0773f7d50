# SPDX-License-Identifier: BSD-3-Clause
"""Fetches files that are known by their SHA-256, from the first mirror that has them.

Nothing a server sends is trusted: sizes and times are bounded, and a file is written only after its
content has been verified, so that a name in the folder means a whole file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from io import BufferedReader, BytesIO
from pathlib import Path
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.request import OpenerDirector

from ..base.files import leftovers, write_file
from ..base.progress import Progress
from ..errors import DataError, DatasetUnavailableError
from .idx import CHUNK_BYTES, decompressed


@dataclass(frozen=True)
class Limits:
    """What a server may send, per file."""

    n_bytes: int = 16 << 20  # as sent; MNIST's largest file has 9.9 MB
    n_content_bytes: int = 64 << 20  # uncompressed; MNIST's largest file has 47 MB
    silence: float = 20.0  # seconds without a byte
    seconds: float = 900.0  # altogether


class _UnreachableError(DataError):
    """Nobody has answered."""


_LOCK_SECONDS = 3600.0  # that another process may take for all files


def download(
    files: Mapping[str, str],
    folder: Path,
    mirrors: Sequence[str],
    *,
    progress: bool = True,
    limits: Limits = Limits(),
) -> None:
    """Put those of `files` that are not there yet into `folder`, which is made if need be.

    `files` maps names to the SHA-256 (hex) of the files' uncompressed content; `mirrors` are http
    or https addresses that a name is appended to, tried in turn for each file. Processes that want
    the same folder wait for each other. DatasetUnavailableError if the folder cannot be written, or
    no mirror has a file; says for each what went wrong.
    """
    import filelock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            for name, sha256 in files.items():
                if not (folder / name).is_file():  # another process may have had the lock
                    _download_file(name, sha256, folder, mirrors, progress, limits)
    except DatasetUnavailableError:
        raise
    except OSError as error:
        raise DatasetUnavailableError(
            f"cannot download into {folder} ({error}), expected a folder that can be written to; "
            "$XDG_CACHE_HOME moves it, data_dir names one that holds the files already"
        ) from error


def _download_file(
    name: str, sha256: str, folder: Path, mirrors: Sequence[str], progress: bool, limits: Limits
) -> None:
    """Try the mirrors in turn; the caller holds the lock, so that leftovers are nobody's."""
    for leftover in leftovers(folder / name):
        leftover.unlink()
    failures, reached = [], False
    for mirror in mirrors:
        url = mirror + name
        try:
            data = b"".join(_received(url, name, progress, limits))
            _verify(data, url, sha256, limits)
        except DataError as error:
            reached = reached or not isinstance(error, _UnreachableError)
            failures.append((url, " ".join(str(error).split())[:300]))
        else:
            write_file(folder / name, data)
            return
    reasons = "; ".join(f"{url}: {reason}" for url, reason in failures)
    found = f"no mirror has it ({reasons})"
    if not reached:
        found = f"could not reach the mirrors ({failures[0][1]})"
    raise DatasetUnavailableError(
        f"{name}: {found}; download it by hand and name its "
        "folder with data_dir, or use dataset='strokes'"
    )


def _received(url: str, name: str, progress: bool, limits: Limits) -> Iterator[bytes]:
    """Yield what `url` sends; DataError, whatever goes wrong with it."""
    end = time.monotonic() + limits.seconds
    received = 0
    try:
        with _opener().open(url, timeout=limits.silence) as response:
            promised: int | None = response.length
            if promised is not None and promised > limits.n_bytes:
                raise DataError(
                    f"got a file of {promised:,} bytes, expected {limits.n_bytes:,} at most"
                )
            with Progress(name, promised, show=progress) as shown:
                while chunk := response.read1(CHUNK_BYTES):
                    received += len(chunk)
                    if received > limits.n_bytes:
                        raise DataError(f"got more than {limits.n_bytes:,} bytes, expected fewer")
                    if time.monotonic() > end:
                        raise DataError(
                            f"got {received:,} bytes in {limits.seconds} s, expected the end"
                        )
                    yield chunk
                    shown.advance(len(chunk))
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        elif isinstance(error, URLError) and isinstance(error.reason, OSError):
            raise _UnreachableError(error.reason.strerror or str(error.reason)) from error
        raise DataError(str(error)) from error
    if promised is not None and received < promised:
        raise DataError(f"got {received:,} bytes, expected the {promised:,} that were announced")


def _opener() -> OpenerDirector:
    """Follow http and https only, also in redirects: no ftp, no file, no data addresses."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.UnknownHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPRedirectHandler,
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _verify(data: bytes, url: str, sha256: str, limits: Limits) -> None:
    """Check the uncompressed content of what `url` sent, which may be a decompression bomb."""
    digest = hashlib.sha256()
    n_bytes = 0
    with decompressed(BufferedReader(BytesIO(data)), url) as file:
        while chunk := file.read(CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > limits.n_content_bytes:
                raise DataError(
                    f"got more than {limits.n_content_bytes:,} bytes when uncompressed, "
                    "expected fewer"
                )
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise DataError(f"got SHA-256 {digest.hexdigest()} (uncompressed), expected {sha256}")
