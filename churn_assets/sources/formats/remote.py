"""Files that lie elsewhere, wherever fsspec reaches: found, told apart, and copied here as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from churn_assets.errors import ChurnAssetsError, SourceError
from churn_assets.sources.formats import refusal
from churn_assets.sources.formats.received import BLOCK, Received, temporary
from churn_assets.sources.retrying import retrying, status_of, transient

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "adl": "adlfs", "http": "aiohttp", "https": "aiohttp", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol",
}  # fmt: skip
_CHECKSUMS = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "Digest", "checksum", "crc32c")


def remote_files(address: str, options: dict[str, Any]) -> tuple[AbstractFileSystem | None, list[str]]:
    """The file system of ``address``, None for this machine's own, and the paths there that it names.

    Raises:
        SourceError: the file system can't be reached, or its client isn't installed.
    """
    with reachable(address):
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        # What a listing said an hour ago isn't what is there now.
        system, path = url_to_fs(address, **{"skip_instance_cache": True, "use_listings_cache": False, **options})
        if isinstance(system, LocalFileSystem):
            return None, [path]
        return system, retrying(lambda: _found(system, path), shown(address))


def _found(system: AbstractFileSystem, path: str) -> list[str]:
    try:
        if system.info(path)["type"] != "directory":
            return [path]
    except FileNotFoundError as error:
        if not _is_missing(error):
            raise
    if not re.search(r"[*?\[]", path):
        return []
    return sorted(found for found in system.glob(path) if system.isfile(found))


def copied(system: AbstractFileSystem, path: str, address: str) -> Received:
    """The file's bytes on this machine's disk, in a folder that goes with what is returned.

    Raises:
        SourceError: it can't be read as a whole.
    """
    folder = temporary()
    target = Path(folder.name) / "received"

    def copy() -> None:
        size = system.info(path).get("size")
        copied = 0
        with system.open(path, "rb", cache_type="readahead", block_size=8 * BLOCK) as source, target.open("wb") as sink:
            while block := source.read(8 * BLOCK):
                sink.write(block)
                copied += len(block)
        if size is not None and copied != size:
            raise refusal(
                address,
                f"{size} bytes",
                f"{copied}",
                "It may have changed meanwhile; read it once it is written as a whole.",
            )

    with reachable(address):
        retrying(copy, address)
    return Received(address, PurePosixPath(address).name, target, None, folder)


def checksum(system: AbstractFileSystem, path: str, address: str) -> str | None:
    """What the file system itself says of the content: its checksum and size; None if it says nothing.

    Raises:
        SourceError: it can't be asked.
    """
    with reachable(address):
        info = retrying(lambda: system.info(path), address)
    told = next((str(info[name]) for name in _CHECKSUMS if info.get(name)), None)
    # A weak tag (RFC 9110) may stay the same while bytes change.
    return None if told is None or told.startswith("W/") else f"{told} {info.get('size')}"


def shown(address: str) -> str:
    """``address`` as it may stand in a message or a log: without user, password and query."""
    return re.sub(r"\?.*", "", re.sub(r"//[^/@]*@", "//", address))


@contextmanager
def reachable(address: str) -> Iterator[None]:
    """Turns what clients of file systems raise into errors that say what to do."""
    place = shown(address)
    try:
        yield
    except ChurnAssetsError:
        raise
    except ImportError as error:
        protocol = address.partition("://")[0]
        package = _PACKAGES.get(protocol, error.name or "its client")
        raise refusal(
            place, f"a client for {protocol}://", "none installed", f"Install it: pip install {package}."
        ) from error
    except Exception as error:
        if isinstance(error, FileNotFoundError) and _is_missing(error):
            raise refusal(place, "a file", "none (not found)", "Put it there, or mend source.path.") from error
        raise _unreachable(place, error) from error


def _is_missing(error: FileNotFoundError) -> bool:
    """Whether a file isn't there: fsspec says so too when a server refuses to tell, or doesn't answer."""
    cause = error.__cause__
    return cause is None or isinstance(cause, FileNotFoundError) or status_of(cause) in (404, 410)


def _unreachable(place: str, error: BaseException) -> SourceError:
    if isinstance(error, FileNotFoundError) and error.__cause__:
        error = error.__cause__
    status = status_of(error)
    if isinstance(error, PermissionError) or status in (401, 403):
        return refusal(
            place, "a file that may be read", f"no permission ({status or 'denied'})",
            "Give the account the right to read it, or mend source.options.",
        )  # fmt: skip
    if isinstance(error, ValueError) and "rotocol" in str(error):
        return refusal(place, "a kind of address that fsspec knows", str(error), "Mend source.path.")
    if "redential" in type(error).__name__ + str(error):
        return refusal(place, "credentials", "none that work", "Set them in the environment or in source.options.")
    found = f"the answer {status}" if status else f"no answer ({type(error).__name__})"
    return refusal(
        place, "a file that can be reached", found, "Try again once the server answers, or mend source.path.",
        transient=transient(error),
    )  # fmt: skip
