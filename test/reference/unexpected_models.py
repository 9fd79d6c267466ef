"""Dumps models that do what the tap table does not expect: another dtype, a module that does not run, edits behind modules.

    python test/reference/unexpected_models.py OUT

Writes OUT/dtype, OUT/not-run, OUT/behind and OUT/behind-WAY; prints {name: what dump.py printed}.
"""

import contextlib
import copy
import io
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "dumps" / "reference"), str(ROOT / "test" / "faults")]

import dump  # noqa: E402
import torch  # noqa: E402
from checkpoint import load_model, read_headers  # noqa: E402
from transformers.models.zaya import modeling_zaya as zaya  # noqa: E402

from alteration import edit  # noqa: E402

TINY = ROOT / "dumps" / "tiny" / "model"
DEPTHWISE = "qk_states = self.conv_qk_depthwise(qk_states)"
GROUPED = "self.conv_qk_grouped(qk_states)"
BIAS = "self.conv_qk_depthwise.bias[:, None]"
# the same bias taken off in other words: the variable takes more or fewer values, or the change stands behind it
BEHIND = {
    "behind-two-lines": (DEPTHWISE, f"{DEPTHWISE}\n    qk_states = qk_states - {BIAS}"),
    "behind-in-place": (DEPTHWISE, f"{DEPTHWISE}\n    qk_states -= {BIAS}"),
    "behind-nested": (f"{DEPTHWISE}\n    qk_states = {GROUPED}", f"qk_states = self.conv_qk_grouped(self.conv_qk_depthwise(qk_states) - {BIAS})"),
    "behind-renamed": (f"{DEPTHWISE}\n    qk_states = {GROUPED}", f"{DEPTHWISE}\n    other = qk_states - {BIAS}\n    qk_states = self.conv_qk_grouped(other)"),
    "behind-argument": (GROUPED, f"self.conv_qk_grouped(qk_states - {BIAS})"),
}
MODELS = {
    "dtype": [edit(zaya.ZayaResidualScaling.forward, "return hidden_states + residual", "return (hidden_states + residual).double()")],
    "not-run": [edit(zaya.ZayaRouterMLP.forward, "self.act_fn(self.fc1(hidden_states))", "self.act_fn(hidden_states)")],
    "behind": [
        edit(zaya.ZayaForCausalLM.forward, "logits = self.lm_head(hidden_states[:, slice_indices, :])", "logits = 2 * self.lm_head(hidden_states[:, slice_indices, :])"),
        edit(zaya.ZayaCCAProjection.forward, DEPTHWISE, f"{DEPTHWISE} - {BIAS}"),
        edit(zaya.ZayaModel.forward, "hidden_states = ((hidden_states + self.input_hidden_states_bias) * self.input_hidden_states_scale).to(\n        torch.float32\n    )", "hidden_states = hidden_states"),
    ],
} | {name: [edit(zaya.ZayaCCAProjection.forward, *words)] for name, words in BEHIND.items()}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    model = load_model(TINY, torch.float32, read_headers(TINY))
    printed = {}
    for name, alterations in MODELS.items():
        wrong = copy.deepcopy(model)
        options = ["--model", TINY, "--tokens", "257,91,87", "--dtype", "float32", "--out", Path(sys.argv[1]) / name]
        out = io.StringIO()
        with contextlib.ExitStack() as stack, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            for alter in alterations:
                stack.enter_context(alter(wrong))
            dump.dump(dump.parse([str(option) for option in options]), lambda *_, wrong=wrong: wrong)
        printed[name] = out.getvalue()
    print(json.dumps(printed))


main()
