"""Builds the package's wheel and source archive (PEP 517, PEP 660) with the standard library alone.

A pure Python wheel is a zip of the package with a few lines of metadata, so `pip install` has nothing to fetch: it works without
network, setuptools or wheel.
"""

from __future__ import annotations

import base64
import hashlib
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# The earliest time that a zip can hold: the same sources give the same bytes.
TIME = (1980, 1, 1, 0, 0, 0)


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """Writes the wheel; returns its file name."""
    package = ROOT / _project()["name"]
    files = {str(path.relative_to(ROOT)): path.read_bytes() for path in sorted(package.rglob("*")) if path.suffix == ".py" or path.name == "py.typed"}
    return _write_wheel(Path(wheel_directory), files)


def build_editable(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """Writes a wheel that points to this folder; returns its file name."""
    return _write_wheel(Path(wheel_directory), {f"{_project()['name']}.pth": f"{ROOT}\n".encode()})


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Writes the source archive; returns its file name."""
    stem = _stem()
    name = f"{stem}.tar.gz"
    with tarfile.open(Path(sdist_directory) / name, "w:gz") as archive:
        for path in sorted(ROOT.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.add(path, f"{stem}/{path.relative_to(ROOT)}")
        information = Path(sdist_directory) / "PKG-INFO"
        information.write_bytes(_metadata())
        archive.add(information, f"{stem}/PKG-INFO")
        information.unlink()
    return name


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    """Nothing."""
    return []


get_requires_for_build_editable = get_requires_for_build_sdist = get_requires_for_build_wheel


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _stem() -> str:
    project = _project()
    return f"{project['name']}-{project['version']}"


def _metadata() -> bytes:
    project = _project()
    fields = {
        "Metadata-Version": "2.1",
        "Name": project["name"],
        "Version": project["version"],
        "Summary": project["description"],
        "Requires-Python": project["requires-python"],
        "License": project["license"]["text"],
        "Description-Content-Type": "text/markdown",
    }
    head = "".join(f"{name}: {value}\n" for name, value in fields.items())
    return (head + "\n" + (ROOT / project["readme"]).read_text(encoding="utf-8")).encode()


def _write_wheel(folder: Path, files: dict[str, bytes]) -> str:
    name = f"{_stem()}-py3-none-any.whl"
    information = f"{_stem()}.dist-info"
    files[f"{information}/METADATA"] = _metadata()
    files[f"{information}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: zayascope\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = f"{information}/RECORD"
    lines = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, TIME), content, zipfile.ZIP_DEFLATED)
    return name


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
