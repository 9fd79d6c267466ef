"""The lock of a dump's folder, `<folder>.lock` beside it while something writes into it, as the TypeScript side takes it (docs/dump-format.md)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import DumpError

# How often a lock is tried that others take and leave meanwhile.
TRIES = 100


def lock_path(out: Path) -> Path:
    """The lock file of a folder."""
    folder = Path(out).absolute()
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds the lock of a folder, which need not exist. DumpError where another process holds it; one that a process which has ended
    left on this host is replaced."""
    path = lock_path(out)
    for _ in range(TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            created = _create(path)
        except OSError as error:
            raise DumpError(f"dump: expected --out where a folder can be made, got {out} ({error.strerror or error})") from error
        if created:
            break
        holder = _holder(path)
        if holder is None:
            continue
        if not _is_gone(holder):
            raise DumpError(f"dump: expected a folder that nothing else writes, got {_words(holder)} ({path})")
        _remove_stale(path, holder)
    else:
        raise DumpError(f"dump: expected to take the lock, it was taken and left {TRIES} times by others ({path})")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path) -> bool:
    """Creates the lock with its content at once, by linking a finished one; False where there is one."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4()}")
    text = json.dumps({"pid": os.getpid(), "start": _start(os.getpid()), "host": socket.gethostname()}) + "\n"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    except (PermissionError, OSError):
        return _create_in_place(path, text)  # file systems without hard links
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _create_in_place(path: Path, text: str) -> bool:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
        return True
    except FileExistsError:
        return False


def _holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; empty for a file that is no lock, None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("pid"), int) and isinstance(found.get("host"), str) else {}


def _remove_stale(path: Path, stale: dict[str, Any]) -> None:
    """Only who holds the lock's own lock removes it, so that nobody removes one that was taken since; others look again."""
    own = path.with_name(f"{path.name}.lock")
    if not _create(own):
        holder = _holder(own)
        if holder and _is_gone(holder):
            own.unlink(missing_ok=True)
        time.sleep(0.005)
        return
    try:
        if _holder(path) == stale:
            path.unlink(missing_ok=True)
    finally:
        own.unlink(missing_ok=True)


def _is_gone(holder: dict[str, Any]) -> bool:
    """True if the process has ended. Of one on another host nothing can be known: False."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OSError):
        pass  # another user's: it is there
    start, now = holder.get("start"), _start(holder["pid"])
    return start is not None and now is not None and start != now


def _start(pid: int) -> str | None:
    """When a process started, as the system counts; a recycled pid has another. None where unknown."""
    try:
        if sys.platform == "linux":
            # The second field, the program's name in brackets, may hold blanks and brackets; those after it do not.
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        if sys.platform == "darwin":
            return subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.strip() or None
    except (OSError, IndexError):
        pass
    return None


def _words(holder: dict[str, Any]) -> str:
    if not holder:
        return "a file that is no lock of a dump"
    return f"one that process {holder['pid']} on {holder['host']} is writing (remove the lock if that process has ended)"
