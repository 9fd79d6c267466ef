"""Executes notebooks with their own kernel, two at a time, as JupyterLab would, and exports each to HTML.

Reads {"notebooks": [path], "cwd": folder, "out": folder} from standard input and prints a JSON array with an object per notebook: its name,
seconds, the error that stopped it, what it wrote to standard error, the figures in plotly's format, and the path of the export.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

PLOTLY = "application/vnd.plotly.v1+json"
AT_ONCE = 2
CELL_SECONDS = 120


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
        "figures": [output.data[PLOTLY] for output in outputs if PLOTLY in output.get("data", {})],
        "page": str(page),
    }


async def main() -> None:
    # Kernels inherit this process's standard output, and what they write there must not stand inside the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    turn = asyncio.Semaphore(AT_ONCE)
    paths = [Path(path) for path in request["notebooks"]]
    results = await asyncio.gather(*(execute(path, request["cwd"], out, turn) for path in paths))
    with answer:
        json.dump(results, answer)


asyncio.run(main())
