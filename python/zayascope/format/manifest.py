"""`manifest.json` of a dump, and the folder that it stands in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .columns import TapSpec, data_file
from .dtypes import QUANTISED, STORAGE
from ..errors import DumpError
from .names import check_name

MANIFEST = "manifest.json"
# A manifest that is being written; the TypeScript writer has the same name, so that either removes what the other left.
TEMPORARY_MANIFEST = f".{MANIFEST}.tmp"
FORMAT = "zayascope-dump"
# Every file that a dump may consist of, whichever program wrote it.
DUMP_FILE = re.compile(r"\.?manifest\.json(\.tmp)?|graph\.json|(model|stats|hash|layers\.[0-9]+)\.arrow(\.tmp)?")


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuses an existing `out` unless it is empty, or `overwrite` is set and it holds a dump and nothing else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise DumpError(f"dump: expected --out not to exist, it does: {out} (--overwrite replaces a dump)")
    if not _holds_dump(out):
        raise DumpError(f"dump: expected --out to hold a dump that may be replaced, it does not: {out}")
    others = sorted(entry.name for entry in out.iterdir() if not _is_dump_file(entry))
    if others:
        raise DumpError(f"dump: expected --out to hold nothing but a dump, got {others[0]!r} beside it: {out}")


def prepare_folder(out: Path) -> None:
    """A folder at `out`, which `check_folder` has cleared, without the files of an earlier dump.

    The manifest says partial before anything goes, and goes last: a crash leaves what is recognisable as a dump and can be replaced
    again, and never says complete over data that are gone.
    """
    out.mkdir(parents=True, exist_ok=True)
    if _holds_dump(out):
        write_manifest(out, json.loads((out / MANIFEST).read_text(encoding="utf-8")) | {"status": "partial"})
    old = [entry for entry in out.iterdir() if _is_dump_file(entry)]
    for entry in sorted(old, key=lambda entry: entry.name == MANIFEST):
        entry.unlink()


def write_manifest(out: Path, manifest: Mapping[str, Any]) -> None:
    """Replaces the manifest as a whole: readers see the old one or the new one."""
    temporary = out / TEMPORARY_MANIFEST
    temporary.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, out / MANIFEST)


def read_manifest(dump: Path) -> dict[str, Any]:
    """The parsed and checked manifest of a dump of version 1 or 2. DumpError names what is wrong."""
    path = dump / MANIFEST
    if not path.is_file():
        raise DumpError(f"open dump: expected a {MANIFEST}, found none in {dump}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DumpError(f"open dump: expected JSON, got {error} in {path}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DumpError(f"open dump: expected format {FORMAT}, got another in {path}")
    version = manifest.get("version")
    if version not in (1, 2) or isinstance(version, bool):
        newer = ", written by a newer Zayascope," if isinstance(version, int) and version > 2 else ""
        raise DumpError(f"open dump: expected version 1 or 2, got {version}{newer} in {path}")
    for key, allowed in (("status", ("partial", "complete")), ("tier", ("full", "stats", "hash"))):
        if manifest.get(key) not in allowed:
            raise DumpError(f"open dump: expected {key} to be one of {', '.join(allowed)}, got {manifest.get(key)!r} in {path}")
    taps = manifest.get("taps")
    if not isinstance(taps, list) or not isinstance(manifest.get("sequences"), list):
        raise DumpError(f"open dump: expected lists of taps and sequences, got others in {path}")
    names: set[str] = set()
    for tap in taps:
        _check_tap(tap, path)
        if tap["name"] in names:
            raise DumpError(f"open dump: expected tap names that differ, got {tap['name']!r} twice in {path}")
        names.add(tap["name"])
    return manifest


def _check_tap(tap: Any, path: Path) -> None:
    def fail(expected: str, got: object) -> None:
        raise DumpError(f"open dump: expected {expected}, got {got!r} in {path}")

    if not isinstance(tap, dict):
        fail("taps to be objects", tap)
    check_name(tap.get("name"), "open dump")
    block = tap.get("block")
    if block is not None and (not isinstance(block, int) or isinstance(block, bool) or block < 0):
        fail("block to be null or a number from 0", block)
    if tap.get("file") != data_file(block):
        fail(f"file to be {data_file(block)}", tap.get("file"))
    if tap.get("dtype") not in STORAGE and tap.get("dtype") not in QUANTISED:
        fail("a dtype of the format", tap.get("dtype"))
    if tap.get("scope") not in ("token", "step"):
        fail("scope to be token or step", tap.get("scope"))
    shape, axes = tap.get("shape"), tap.get("axes")
    if not isinstance(shape, list) or not all(size is None or (type(size) is int and size >= 1) for size in shape):
        fail("shape to be a list of sizes or null", shape)
    if not isinstance(axes, list) or len(axes) != len(shape) + (tap["scope"] == "token"):
        fail("a name for each axis", axes)
    if tap.get("nullable") is True and tap["scope"] != "token":
        fail("nullable taps to be of scope token", tap["name"])
    spec = TapSpec.of(tap)
    if spec.dtype in QUANTISED and (not shape or shape[-1] is None or shape[-1] % QUANTISED[spec.dtype][0]):
        fail(f"a last axis in blocks of {spec.dtype}", shape)


def _holds_dump(out: Path) -> bool:
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def _is_dump_file(entry: Path) -> bool:
    return entry.is_file() and DUMP_FILE.fullmatch(entry.name) is not None
