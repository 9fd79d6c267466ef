"""Runs every `check_*` function of a file and prints what became of each, as JSON: {name: "ok" or the error}.

    python test/python/checks.py FILE FOLDER

FOLDER is where checks may write.
"""

import importlib.util
import json
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "python"))

import torch  # noqa: E402

torch.set_num_threads(1)


def main() -> None:
    file, folder = HERE / sys.argv[1], Path(sys.argv[2])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    results = {}
    own_checks = [name for name, value in vars(module).items() if name.startswith("check_") and value.__module__ == file.stem]
    for name in own_checks:
        own = folder / name.removeprefix("check_")
        own.mkdir(parents=True)
        try:
            getattr(module, name)(own)
            results[name] = "ok"
        except Exception:
            results[name] = traceback.format_exc(limit=-4)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
