"""Files that are whole or not there, and locks of those that one process alone may write."""

import contextlib
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

_STAGING = ".writing-"


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new folder in `folder` to write to. When the block ends it is deleted, with all that is still in it."""
    made = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which gets the name `path` when the block has ended well; else it is deleted.

    The folder of `path` is made where it is missing.

    Raises:
        OSError: where the block or the renaming raises one, such as for a full disk. The file that was at `path` is
            still there.
    """
    if path.parent.name.startswith(_STAGING):  # of a block around this one
        yield path
        return
    if path.is_symlink():
        path = path.resolve()  # and the link stays
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging(path.parent) as folder:
            yield folder / path.name
            with (folder / path.name).open("r+b") as file:
                os.fsync(file.fileno())  # some file systems say only here that they are full
            os.replace(folder / path.name, path)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: Exception) -> OSError:
    """What to raise where `path` could not be written, with the number of the error that came."""
    code, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    kept = "The one that was there is whole" if path.exists() else "Nothing is left of it"
    remedy = "Make room there" if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "Make that possible"
    text = f"{path} could not be written: {reason}. {kept}. {remedy}, or give another path."
    return OSError(text) if code is None else OSError(code, text)


def clear(path: Path) -> None:
    """Delete what killed processes have left of writing `path`. Only who holds its lock may do that."""
    for folder in path.parent.glob(f"{_STAGING}*"):
        if (folder / path.name).exists():
            shutil.rmtree(folder, ignore_errors=True)


def lock(path: Path, what: str) -> FileIO | None:
    """Lock the file `path` for this process, until `unlock` or its end, however it ends.

    Args:
        path: of the lock, which is made; it holds the number of the process.
        what: it guards, for the message.

    Raises:
        BlockingIOError: where another process has it.
    """
    while fcntl is not None:
        file = path.open("a+b", buffering=0)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process: children do not keep it
        except OSError as error:
            file.seek(0)
            holder = file.read().decode(errors="replace") or "unknown"
            file.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return None  # a file system without locks
            raise BlockingIOError(
                errno.EAGAIN, f"{what} is in use by process {holder}. Wait for its end, stop it, or give another path."
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):  # else its holder has just deleted it
                with contextlib.suppress(OSError):  # of a full disk
                    file.truncate(0)
                    file.write(f"{os.getpid()} on {socket.gethostname()}".encode())
                return file
        file.close()
    return None


def unlock(path: Path, file: FileIO | None) -> None:
    """Give back what `lock` gave."""
    if file is not None:
        with contextlib.suppress(OSError):  # of a folder that is gone, or can only be read now
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                path.unlink()
        file.close()
