"""Random tiny language models of transformers: what is recorded is what an own run gives, step by step and padded."""

import numpy as np
import torch
import transformers
from expecting import raises
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Mamba2Config, Qwen3MoeConfig

import zayascope

transformers.logging.set_verbosity_error()

SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2}
HEADS = {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
CONFIGS = {
    "llama": LlamaConfig(**SIZES, **HEADS),
    "qwen3_moe": Qwen3MoeConfig(**SIZES, **HEADS, moe_intermediate_size=24, num_experts=4, num_experts_per_tok=2),
    "gemma3": Gemma3TextConfig(**SIZES, **HEADS, sliding_window=4),
    "mamba2": Mamba2Config(**SIZES, num_heads=8, head_dim=8, state_size=16, n_groups=1, expand=2, chunk_size=8),
}
CACHE = {"mamba2": "cache_params"}


def model_of(kind: str):
    torch.manual_seed(7)
    return AutoModelForCausalLM.from_config(CONFIGS[kind], attn_implementation="eager").eval()


def steps(model, kind, ids, mask, decode=2):
    """Prefill and greedy steps through the cache: the logits, and what the blocks' norms and outputs were, by an own hook."""
    cache, logits = CACHE.get(kind, "past_key_values"), []
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, use_cache=True)
        logits.append(out.logits)
        for _ in range(decode):
            mask = torch.cat([mask, torch.ones(len(ids), 1, dtype=mask.dtype)], 1)
            out = model(input_ids=logits[-1][:, -1:].argmax(-1), attention_mask=mask, use_cache=True, **{cache: getattr(out, cache)})
            logits.append(out.logits)
    return logits


def hooked(model, paths, run):
    """Copies of the outputs of some modules, call by call."""
    seen = {path: [] for path in paths}
    handles = []
    for path in paths:
        handles.append(model.get_submodule(path).register_forward_hook(lambda _m, _a, out, path=path: seen[path].append(out.clone())))
    logits = run()
    for handle in handles:
        handle.remove()
    return seen, logits


def both(kind, folder, inside=None):
    model = model_of(kind)
    ids = torch.randint(3, 97, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    root = "backbone" if kind == "mamba2" else "model"
    paths = [f"{root}.layers.{n}" for n in (0, 1)] + ["lm_head", f"{root}.layers.1.{'norm' if kind == 'mamba2' else 'input_layernorm'}"]
    seen, plain = hooked(model, paths, lambda: steps(model, kind, ids, mask))
    with zayascope.capture(model, folder / kind, inside=inside) as run:
        watched = steps(model, kind, ids, mask)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched)), "watching changed the result"
    dump = zayascope.load(folder / kind)
    for path, calls in [*seen.items(), ("return.logits", plain)]:
        for sequence, first in ((0, 0), (1, 3)):
            expected = torch.cat([calls[0][sequence, first:], *(call[sequence] for call in calls[1:])]).numpy()
            got = dump[path].numpy(sequence=sequence)
            assert got.tobytes() == expected.tobytes(), path
    rows = dump["lm_head"].rows()
    assert rows["position"].tolist() == [*range(7), *range(4), 7, 4, 8, 5] and rows["step"].tolist() == [0] * 11 + [1, 1, 2, 2]
    fed = [plain[step][:, -1].argmax(-1).tolist() for step in (0, 1)]
    assert dump.manifest["sequences"] == [{"tokens": ids[0].tolist() + [fed[0][0], fed[1][0]]}, {"tokens": ids[1, 3:].tolist() + [fed[0][1], fed[1][1]]}]
    assert [call["kind"] for call in dump.manifest["calls"]] == ["prefill", "decode", "decode"]
    assert dump.roles["logits"] == ["return.logits"] and dump.roles["residual"] == [f"{root}.layers.{n}" for n in (0, 1)]
    assert dump.manifest["model"]["type"] == CONFIGS[kind].model_type and dump[paths[0]].spec.file == "layers.0.arrow"
    # every value but the first has a source, and the logits come from both blocks
    sources = {b for _, b in dump.edges}
    if inside is None:
        assert [name for name in dump if name not in sources and name != list(dump)[0]] == []
    reached = {"return.logits"}
    for a, b in reversed(dump.edges):
        if b in reached:
            reached.add(a)
    assert {f"{root}.layers.0", f"{root}.layers.1", list(dump)[0]} <= reached or inside is not None
    return model, dump, run


def check_llama(folder):
    _, dump, run = both("llama", folder)
    assert run.ambiguous == [] and dump["model.layers.0.self_attn.1"].spec.axes == ("T", "d1", "d3")
    key = dump["return.past_key_values.1.key"]
    assert key.spec.scope == "step" and key.numpy(step=2, sequence=1).shape == (1, 2, 9, 8)
    assert dump.roles["cache.key"][0] == "model.past_key_values.0.key"
    weights = dump["model.layers.0.self_attn.1"].numpy(step=0, sequence=0)
    assert np.allclose(weights.sum(-1), 1, atol=1e-6) and weights.shape == (7, 4, 7)


def check_qwen3_moe_inside(folder):
    model, dump, _ = both("qwen3_moe", folder, inside="modeling_qwen3_moe")
    root = "model.layers.1"
    # the router: soft-max of a linear, chosen again from the recorded values
    gate = model.get_submodule(f"{root}.mlp.gate")
    logits = torch.from_numpy(dump[f"{root}.post_attention_layernorm"].numpy(step=0)) @ gate.weight.detach().T
    probabilities = torch.softmax(logits, -1)
    chosen = dump[f"{root}.mlp.gate:router_indices"].numpy(step=0)
    assert np.array_equal(chosen, torch.topk(probabilities, 2, -1).indices.numpy()) and dump[f"{root}.mlp.gate:router_indices"].dtype == "I64"
    # eager attention is a function beside the module: its locals count to the module that it was given
    scores = dump[f"{root}.self_attn:eager_attention_forward.attn_weights"]
    assert scores.spec.axes == ("T", "d1", "d3")
    rotated = dump[f"{root}.self_attn:apply_rotary_pos_emb.q_embed"].numpy(step=0, sequence=0)
    assert np.array_equal(rotated, dump[f"{root}.self_attn:query_states#2"].numpy(step=0, sequence=0))
    assert (f"{root}.self_attn:query_states", f"{root}.self_attn:apply_rotary_pos_emb.q") in dump.edges


def check_gemma3(folder):
    both("gemma3", folder)


def check_mamba2(folder):
    _, dump, _ = both("mamba2", folder)
    state = dump["return.cache_params.0.recurrent_states.0"]
    assert state.spec.scope == "step" and state.spec.shape == (8, 8, 16) and len(state) == 6
    assert "return.cache_params.0.conv_states.0" in dump.roles["state"]


def check_logits_of_the_last_token_only(folder):
    model = model_of("llama")
    ids = torch.tensor([[5, 6, 7, 8]])
    with zayascope.capture(model, folder / "d", "lm_head,return.logits,model.norm"):
        out = model.generate(ids, max_new_tokens=3, do_sample=False)
    dump = zayascope.load(folder / "d")
    assert dump["lm_head"].spec.nullable and dump["lm_head"].rows()["position"].tolist() == [3, 4, 5]
    assert dump["model.norm"].rows()["position"].tolist() == [0, 1, 2, 3, 4, 5] and not dump["model.norm"].spec.nullable
    assert dump.manifest["sequences"] == [{"tokens": out[0, :6].tolist()}]
    with torch.no_grad():
        whole = model(out[:, :6]).logits[0, 3:]
    assert np.allclose(dump["lm_head"].numpy(), whole.numpy(), atol=1e-5)
    assert dump["lm_head"].numpy().argmax(-1).tolist() == out[0, 4:].tolist()


def check_a_checkpoint_on_disk(folder):
    from zayascope.command.language_model import Request, record

    model = model_of("qwen3_moe")
    model.save_pretrained(folder / "model")
    tokens = [5, 17, 9, 33, 8, 2]
    outcome = record(Request(folder / "model", folder / "d", tokens, inside="", decode=1))
    dump = zayascope.load(folder / "d")
    assert (outcome.tokens, outcome.steps, outcome.ambiguous, outcome.not_loaded, outcome.set_back) == (6, 2, [], [], [])
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    assert np.allclose(dump["return.logits"].numpy(step=0), logits.numpy(), atol=1e-6) and "model.layers.0.mlp.experts:gate" in dump
    said = dump.manifest["model"]
    assert said["name"] == "model" and len(said["weightsSha256"]) == len(said["configSha256"]) == 64 and said["config"]["model_type"] == "qwen3_moe"
    assert dump.roles["attention.weights"] == [f"model.layers.{n}.self_attn.1" for n in (0, 1)]
    raises(lambda: record(Request(folder / "model", folder / "x", [1, 999])), "ids from 0 to 96, got 999 at position 1")
    raises(lambda: record(Request(folder, folder / "x", [1])), "expected a config.json")
    assert not (folder / "x").exists()
    (folder / "model" / "model.safetensors").unlink()
    raises(lambda: record(Request(folder / "model", folder / "x", [1])), "expected a causal language model")


def check_memory_is_flat_over_calls(folder):
    import resource

    model = model_of("llama")
    ids = torch.randint(3, 97, (1, 400))
    peaks = []
    with zayascope.capture(model, folder / "d", follows=False), torch.no_grad():
        for _ in range(6):
            model(ids, use_cache=False)
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    size = sum(path.stat().st_size for path in (folder / "d").iterdir())
    assert size > 40 << 20 and peaks[-1] - peaks[1] < 8 << 10, (size, peaks)
