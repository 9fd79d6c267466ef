"""Executes notebooks with their own kernel, two at a time, as JupyterLab would, and exports each to HTML; and drafts,
lists of code cells that have to fail, one after another in one more kernel.

Reads {"notebooks": [path], "drafts": {name: [code]}, "cwd": folder, "out": folder} from standard input and prints
{"runs": [...], "errors": {name: ...}}: of each notebook its name, seconds, the error that stopped it, what it wrote to
standard error, the text that it shows, its figures in plotly's format, the path of the export; of each draft the error that stopped it, or null.
"""

import asyncio
import json
import os
import re
import sys
import time
from html import unescape
from pathlib import Path

import nbformat
from nbformat import v4
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

PLOTLY = "application/vnd.plotly.v1+json"
AT_ONCE = 2
CELL_SECONDS = 120
KERNEL = {"name": "tslab", "display_name": "TypeScript (Zayascope)", "language": "typescript"}
# After a failure tslab throws away for 200 ms what it is asked.
ABORT_SECONDS = 0.3


def text_of(output: dict) -> str:
    """What a reader sees of an output that is no figure; cells of a table are separated by a blank."""
    data = output.get("data", {})
    if PLOTLY in data:
        return ""
    html = unescape(re.sub(r"<[^>]*>", " ", data.get("text/html", "")))
    return " ".join((output.get("text") or html or data.get("text/plain", "")).split())


async def execute(path: Path, cwd: str, out: Path, turn: asyncio.Semaphore) -> dict:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": cwd}})
    async with turn:
        start = time.monotonic()
        error = None
        try:
            await client.async_execute()
        except CellExecutionError as failure:
            error = str(failure)
        seconds = time.monotonic() - start
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    html, _ = HTMLExporter(template_name="offline").from_notebook_node(notebook)
    page = out / f"{path.stem}.html"
    page.write_text(html, encoding="utf-8")
    return {
        "name": path.stem,
        "seconds": seconds,
        "error": error,
        "stderr": "".join(output.text for output in outputs if output.get("name") == "stderr"),
        "text": " ".join(filter(None, map(text_of, outputs))),
        "figures": [output.data[PLOTLY] for output in outputs if PLOTLY in output.get("data", {})],
        "page": str(page),
    }


async def fail(drafts: dict[str, list[str]], cwd: str, turn: asyncio.Semaphore) -> dict[str, str | None]:
    """The error of each draft. A draft sees what those before it declared; none of them may depend on that."""
    sources = [(name, source) for name, cells in drafts.items() for source in cells]
    notebook = v4.new_notebook(
        metadata={"kernelspec": KERNEL}, cells=[v4.new_code_cell(source) for _, source in sources]
    )
    client = NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": cwd}})
    errors: dict[str, str | None] = dict.fromkeys(drafts)
    async with turn, client.async_setup_kernel():
        for index, (name, _) in enumerate(sources):
            if errors[name] is not None:
                continue
            try:
                await client.async_execute_cell(notebook.cells[index], index)
            except CellExecutionError as failure:
                errors[name] = str(failure)
                await asyncio.sleep(ABORT_SECONDS)
    return errors


async def main() -> None:
    # Kernels inherit this process's standard output, and what they write there must not stand inside the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    turn = asyncio.Semaphore(AT_ONCE)
    paths = [Path(path) for path in request["notebooks"]]
    cwd = request["cwd"]
    errors, *runs = await asyncio.gather(
        fail(request["drafts"], cwd, turn), *(execute(path, cwd, out, turn) for path in paths)
    )
    with answer:
        json.dump({"runs": runs, "errors": errors}, answer)


asyncio.run(main())
