# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import errno
import gzip
import hashlib
import io
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sae_fast.datasets.download import Limits, download
from sae_fast.errors import DatasetUnavailableError

CONTENT = b"the content of a file " * 100
PACKED = gzip.compress(CONTENT)
FILES = {"file.gz": hashlib.sha256(CONTENT).hexdigest()}
SMALL = Limits(n_bytes=10_000, n_content_bytes=10_000, silence=5, seconds=10)


class Server(ThreadingHTTPServer):
    """Answers "/good/..." and the like each in its own way, and lists what it is asked for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{way}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        way = self.path.split("/")[1]
        getattr(self, f"answer_{way}")()

    def send(self, body: bytes, length: int | None, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self) -> None:
        self.send(PACKED, len(PACKED))

    def answer_plain(self) -> None:
        self.send(CONTENT, None)  # without a length, and unpacked

    def answer_slow(self) -> None:
        time.sleep(0.5)
        self.answer_good()

    def answer_wrong(self) -> None:
        body = gzip.compress(b"something else")
        self.send(body, len(body))

    def answer_truncated(self) -> None:
        self.send(PACKED[:-10], len(PACKED))

    def answer_broken(self) -> None:
        self.send(PACKED[:-10], len(PACKED) - 10)

    def answer_announced(self) -> None:
        self.send(b"", 10_001)

    def answer_endless(self) -> None:
        try:
            self.send(b"", None)
            while True:
                self.wfile.write(b"x" * 1000)
        except OSError:
            self.server.asked.append("hung up")

    def answer_drip(self) -> None:
        try:
            self.send(b"", 1000)
            while True:
                self.wfile.write(b"x")
                time.sleep(0.02)
        except OSError:
            self.server.asked.append("hung up")

    def answer_silent(self) -> None:
        time.sleep(2)

    def answer_garbled(self) -> None:
        self.wfile.write(b"this is not HTTP\r\n\r\n")

    def answer_bomb(self) -> None:
        body = gzip.compress(bytes(10_001))
        self.send(body, len(body))

    def answer_missing(self) -> None:
        self.send(b"", 0, status=404)

    def answer_moved(self) -> None:
        self.send(b"", 0, status=302, Location=self.server.url("good") + "file.gz")

    def answer_local(self) -> None:
        self.send(b"", 0, status=302, Location="ftp://127.0.0.1/file.gz")

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


@pytest.mark.parametrize("way", ["good", "plain", "moved"])
def test_a_file_arrives(server, tmp_path, capfd, way):
    folder = tmp_path / "deep" / "cache"
    download(FILES, folder, [server.url(way)], progress=False)
    assert names(folder) == {"file.gz"}
    assert (folder / "file.gz").read_bytes() == (CONTENT if way == "plain" else PACKED)
    assert capfd.readouterr() == ("", "")


def test_progress_goes_to_stderr(server, tmp_path, capfd):
    download(FILES, tmp_path, [server.url("good")], progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "file.gz: 100%" in err


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("wrong", f"got SHA-256 {hashlib.sha256(b'something else').hexdigest()}"),
        ("truncated", f"got {len(PACKED) - 10} bytes, expected the {len(PACKED)}"),
        ("broken", "damaged gzip"),
        ("announced", "got a file of 10,001 bytes, expected 10,000 at most"),
        ("endless", "got more than 10,000 bytes"),
        ("drip", "bytes in 0.3 s"),
        ("silent", "timed out"),
        ("garbled", "this is not HTTP"),
        ("bomb", "got more than 10,000 bytes when uncompressed"),
        ("missing", "404"),
        ("local", "ftp"),
    ],
)
def test_a_bad_mirror_is_passed_over(server, tmp_path, way, reason):
    limits = (
        Limits(10_000, 10_000, silence=0.3, seconds=0.3) if way in ("drip", "silent") else SMALL
    )
    bad, good = server.url(way), server.url("good")
    with pytest.raises(DatasetUnavailableError) as error:
        download(FILES, tmp_path, [bad], progress=False, limits=limits)
    for word in (reason, bad + "file.gz", "data_dir", "dataset='strokes'"):
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == set()

    download(FILES, tmp_path, [bad, good], progress=False, limits=limits)
    assert names(tmp_path) == {"file.gz"}
    assert (tmp_path / "file.gz").read_bytes() == PACKED


def test_nobody_listens(server, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DatasetUnavailableError) as error:
            download(FILES, tmp_path, [nobody, server.url("missing")], progress=False)
        assert "refused" in str(error.value)  # each mirror's own reason
        assert "404" in str(error.value)
        with pytest.raises(DatasetUnavailableError) as error:
            download(FILES, tmp_path, [nobody, nobody], progress=False)
    words = "file.gz: could not reach the mirrors (Connection refused); "
    assert str(error.value).startswith(words)
    assert "data_dir" in str(error.value)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_only_http_is_followed(tmp_path, scheme):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file.gz").write_bytes(PACKED)
    folder = tmp_path / "cache"
    with pytest.raises(DatasetUnavailableError, match=f"unknown url type: {scheme}"):
        download(FILES, folder, [f"{scheme}://{source}/"], progress=False)
    assert names(folder) == set()


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    download(FILES, tmp_path, [server.url("good")], progress=False)
    download(FILES, tmp_path, [server.url("good")], progress=False)
    assert server.asked == ["/good/file.gz"]


def test_the_leftover_of_a_killed_process_is_overwritten(server, tmp_path):
    (tmp_path / ".file.gz.1.2.tmp").write_bytes(b"half a file, longer than the whole " * 1000)
    download(FILES, tmp_path, [server.url("good")], progress=False)
    assert names(tmp_path) == {"file.gz"}
    assert (tmp_path / "file.gz").read_bytes() == PACKED


def test_an_interrupted_download_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sae_fast.datasets.download._verify", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download(FILES, tmp_path, [server.url("good")], progress=False)
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_no_mirrors_fault(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetUnavailableError, match=r"cannot download into .*written to"):
        download(FILES, tmp_path / "file", [server.url("good")], progress=False)
    assert server.asked == []


def test_a_folder_without_write_permission(server, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("os.open", refuse)  # of the lock; a mode would not stop root
    with pytest.raises(DatasetUnavailableError, match=r"Permission denied.*written to"):
        download(FILES, tmp_path, [server.url("good")], progress=False)
    assert server.asked == []


class FullDisk(io.FileIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_no_mirrors_fault(server, tmp_path, monkeypatch):
    real = Path.open

    def full(self: Path, mode: str = "r", *arguments: object, **options: object) -> object:
        if mode == "xb":
            return FullDisk(self, "x")
        return real(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    mirrors = [server.url("good"), server.url("plain")]
    with pytest.raises(DatasetUnavailableError, match=r"cannot download into .*No space left"):
        download(FILES, tmp_path, mirrors, progress=False)
    assert server.asked == ["/good/file.gz"]
    assert names(tmp_path) == set()


def test_a_link_under_the_temporary_name_is_not_followed(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / f".file.gz.{os.getpid()}.{threading.get_ident()}.tmp").symlink_to(victim)
    download(FILES, folder, [server.url("good")], progress=False)
    assert victim.read_text() == "precious"
    assert not (folder / "file.gz").is_symlink()


def test_of_two_processes_the_second_finds_the_file(server, tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = (FILES, tmp_path, [server.url("slow")])
    processes = [context.Process(target=download, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert server.asked == ["/slow/file.gz"]
    assert names(tmp_path) == {"file.gz"}
