"""What `capture` makes of modules that know nothing of it, checked against torch, NumPy and pyarrow."""

import json
import warnings

import numpy as np
import pyarrow as pa
import torch
from expecting import raises
from strangers import Cnn, EncoderDecoder, Kinds, Recurrent

import zayascope


def hooked(model, *args):
    """Outputs of all modules by an own hook, as a list of (path, copy) in order of completion, and the model's result."""
    seen, handles = [], []
    for name, module in model.named_modules():
        handles.append(module.register_forward_hook(lambda _m, _a, out, name=name: seen.append((name, out.clone() if torch.is_tensor(out) else out))))
    with torch.no_grad():
        result = model(*args)
    for handle in handles:
        handle.remove()
    return seen, result


def column(folder, name, file="model.arrow"):
    """A column read by pyarrow alone: the values of its last row that is not null."""
    table = pa.ipc.open_file(pa.memory_map(str(folder / file))).read_all()
    return [row for row in table.column(name).to_pylist() if row is not None]


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def same_bits(a: np.ndarray, b: torch.Tensor) -> bool:
    return a.dtype == b.numpy().dtype and a.tobytes() == b.contiguous().numpy().tobytes()


def check_cnn(folder):
    torch.manual_seed(1)
    model, image = Cnn().eval(), torch.randn(2, 3, 8, 8)
    seen, result = hooked(model, image)
    with zayascope.capture(model, folder / "cnn"), torch.no_grad():
        assert torch.equal(model(image), result)
    dump = zayascope.load(folder / "cnn")
    assert list(dump) == [name or "return" for name, _ in seen]
    for name, value in seen:
        assert same_bits(dump[name or "return"].numpy()[0], value), name
        assert dump[name or "return"].spec.scope == "step"
    # the ReLU writes into its input: what the norm returned was copied before
    assert (dump["features.1"].numpy() < 0).any() and not (dump["features.2"].numpy() < 0).any()
    said = manifest(folder / "cnn")
    assert said["version"] == 2 and said["sequences"] == [{"length": 1}] and said["model"] == {"name": "Cnn", "dtype": "F32"}
    assert "roles" not in said
    rows = dump["output"].rows()
    assert {key: rows[key].tolist() for key in rows} == {"sequence": [0], "position": [0], "token_id": [-1], "step": [0]}
    names = list(dump)
    assert ("features.0", "features.1") in dump.edges and ("features", "output") in dump.edges and ("output", "return") in dump.edges
    assert all(names.index(a) < names.index(b) for a, b in dump.edges)
    assert not any(model.modules() and (module._forward_hooks or module._forward_pre_hooks) for module in model.modules())


def check_several_calls_without_tokens(folder):
    model = Cnn().eval()
    images = [torch.randn(n, 3, 8, 8) for n in (1, 3)]
    with zayascope.capture(model, folder / "d", taps="output,return"), torch.no_grad():
        results = [model(image) for image in images]
    dump = zayascope.load(folder / "d")
    assert list(dump) == ["output", "return"] and manifest(folder / "d")["sequences"] == [{"length": 2}]
    assert dump["output"].spec.shape == (None, 5)
    for step, result in enumerate(results):
        assert same_bits(dump["output"].numpy(step=step)[0], result)
    assert dump["output"].rows()["position"].tolist() == [0, 1]


def check_encoder_decoder(folder):
    torch.manual_seed(2)
    model = EncoderDecoder().eval()
    source, target = torch.randint(0, 40, (1, 7)), torch.randint(0, 40, (1, 5))
    with torch.no_grad():
        plain = model(source, target)
    with zayascope.capture(model, folder / "ref", tokens=source), torch.no_grad():
        result = model(source, target)
    assert torch.allclose(plain[0], result[0], atol=1e-6)
    dump = zayascope.load(folder / "ref")
    # two lists are called layers: neither makes blocks
    assert all(dump[name].spec.block is None for name in dump)
    assert dump["embed"].spec.scope == "token" and dump["embed#2"].spec.scope == "step"
    assert same_bits(dump["embed"].numpy(), model.embed(source)[0].detach())
    assert same_bits(dump["embed#2"].numpy()[0], model.embed(target).detach())
    assert same_bits(dump["return.0"].numpy()[0], result[0])
    assert same_bits(dump["return.1.memory"].numpy(), result[1]["memory"][0])
    assert ("embed#2", "decoder.layers.0.self_attn.0") in dump.edges
    assert ("encoder.layers.1", "decoder.layers.0.multihead_attn.0") in dump.edges or ("encoder", "decoder.layers.0.multihead_attn.0") in dump.edges
    # dependencies reach the end: everything that the result is made of leads to it, through functions between modules too
    leads = {"return.0"}
    for a, b in sorted(dump.edges, key=lambda edge: -list(dump).index(edge[1])):
        if b in leads:
            leads.add(a)
    assert {"embed", "embed#2", "encoder.layers.0", "encoder.layers.0.linear1", "decoder.layers.1.norm3"} <= leads
    altered = EncoderDecoder().eval()
    altered.load_state_dict(model.state_dict())
    altered.decoder.layers[0].linear1.bias.data += 0.5
    with zayascope.capture(altered, folder / "altered", tokens=source), torch.no_grad():
        altered(source, target)
    table = zayascope.diff(folder / "ref", folder / "altered")
    assert table.first_above(1e-10).name == "decoder.layers.0.linear1" and not table.passes(1e-10) and table.unpaired == []
    assert zayascope.diff(folder / "ref", folder / "ref").passes(0)


def check_every_dtype(folder):
    model, x = Kinds(), torch.randn(1, 4)
    with torch.no_grad():
        y = model.scale(x)
    with zayascope.capture(model, folder / "d"):
        result = model(x)
    dump = zayascope.load(folder / "d")
    assert same_bits(dump["scale"].numpy()[0], y), "copied before it was written to"
    found = {name.removeprefix("return."): dump[name].dtype for name in dump if name != "scale"}
    assert found == {
        **{"wide": "F64", "whole": "I64", "flags": "BOOL", "parts.0": "BF16", "parts.1.0": "F16", "parts.1.1": "I16", "parts.2": "I8"},
        **{"parts.3": "U8", "parts.4": "I32", "parts.5": "F32", "parts.6": "F32"},
    }
    assert same_bits(dump["return.wide"].numpy()[0], result.wide.detach())
    assert dump["return.whole"].numpy()[0].tolist() == [2**60 + 1, -(2**60) - 3]
    assert dump["return.flags"].torch().dtype == torch.bool and torch.equal(dump["return.flags"].torch()[0], result.flags)
    assert torch.equal(dump["return.parts.0"].torch()[0], result.parts[0].detach()) and dump["return.parts.0"].torch().dtype == torch.bfloat16
    assert same_bits(dump["return.parts.0"].numpy()[0], result.parts[0].detach().float())
    assert torch.equal(dump["return.parts.1.0"].torch()[0], result.parts[1][0].detach())
    assert dump["return.parts.4"].numpy().tolist() == [[7]]
    assert same_bits(dump["return.parts.5"].numpy()[0], torch.view_as_real(result.parts[5].detach()))
    assert dump["return.parts.6"].numpy().shape == (1, 0, 3)
    # as another reader of Arrow sees them
    table = pa.ipc.open_file(pa.memory_map(str(folder / "d" / "model.arrow"))).read_all()
    kinds = {name: str(table.schema.field(f"return.{name}").type.value_type) for name in ("wide", "whole", "flags", "parts.0", "parts.1.1", "parts.2")}
    assert kinds == {"wide": "double", "whole": "int64", "flags": "uint8", "parts.0": "uint16", "parts.1.1": "int16", "parts.2": "int8"}
    assert column(folder / "d", "return.whole") == [[2**60 + 1, -(2**60) - 3]]
    assert table.schema.metadata[b"zayascope.format"] == b"2"
    reasons = {entry["name"]: entry["reason"] for entry in manifest(folder / "d")["notRun"]}
    assert reasons["never"] == "its forward was not called" and "sparse" in reasons["return.parts.7"], reasons
    stats = {row["tap"]: row for row in pa.ipc.open_file(folder / "d" / "stats.arrow").read_all().to_pylist()}
    assert stats["return.wide"]["absmax"] == result.wide.abs().max().item() and stats["return.flags"]["mean"] == result.flags.double().mean().item()
    assert stats["return.parts.6"]["count"] == 0 and np.isnan(stats["return.parts.6"]["min"])
    assert not any(isinstance(value, torch.Tensor) and value.requires_grad for value in vars(zayascope).values())
    result.wide.sum().backward()
    assert model.scale.weight.grad is not None, "the graph is untouched"


def check_steps_and_shared_modules(folder):
    torch.manual_seed(3)
    model = Recurrent()
    ids = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    with zayascope.capture(model, folder / "d", tokens=ids, follows=True):
        first = model(ids[:, :3])
        second = model(ids[:, 3:])
    dump = zayascope.load(folder / "d")
    said = manifest(folder / "d")
    assert said["sequences"] == [{"tokens": [3, 1, 4, 1]}, {"tokens": [5, 9, 2, 6]}]
    assert said["calls"] == [{"step": 0, "kind": "prefill", "rows": 6}, {"step": 1, "kind": "decode", "rows": 2}]
    assert list(dump) == ["embed", "blocks.0", "blocks.1", "blocks.2", "blocks.1#2", "return"]
    assert [dump[name].spec.block for name in dump] == [None, 0, 1, 2, 1, None]
    for sequence in (0, 1):
        rows = torch.cat([first[sequence], second[sequence]]).detach()
        assert same_bits(dump["return"].numpy(sequence=sequence), rows)
    rows = dump["return"].rows()
    assert rows["position"].tolist() == [0, 1, 2, 0, 1, 2, 3, 3] and rows["sequence"].tolist() == [0, 0, 0, 1, 1, 1, 0, 1]
    assert rows["token_id"].tolist() == [3, 1, 4, 5, 9, 2, 1, 6] and rows["step"].tolist() == [0] * 6 + [1] * 2
    # without `follows`, and without a cache, a second call is on new sequences
    with zayascope.capture(model, folder / "new", tokens=ids):
        model(ids)
        model(ids[:1])
    assert [len(each["tokens"]) for each in manifest(folder / "new")["sequences"]] == [4, 4, 4]


def check_padding(folder):
    torch.manual_seed(4)
    model = Recurrent()
    ids = torch.tensor([[0, 0, 4, 1], [5, 9, 2, 6]])
    with zayascope.capture(model, folder / "d", tokens=ids, attention_mask=(ids > 0).long()):
        result = model(ids)
    dump = zayascope.load(folder / "d")
    assert manifest(folder / "d")["sequences"] == [{"tokens": [4, 1]}, {"tokens": [5, 9, 2, 6]}]
    assert same_bits(dump["return"].numpy(sequence=0), result[0, 2:].detach()) and dump["return"].rows()["position"].tolist() == [0, 1, 0, 1, 2, 3]


def check_exception_inside(folder):
    model, ids = Recurrent(), torch.tensor([[3, 1, 4]])
    try:
        with zayascope.capture(model, folder / "d", tokens=ids):
            model(ids)
            model(ids, stop=2)
    except RuntimeError as error:
        assert str(error) == "stopped before block 2"
    else:
        raise AssertionError("the exception was kept")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    dump = zayascope.load(folder / "d")
    assert dump.partial and manifest(folder / "d")["steps"] == 0
    assert len(dump["blocks.1"]) == 6 and len(dump["blocks.2"]) == 3 and len(dump["return"]) == 3
    first = zayascope.load(folder / "d")["blocks.0"].numpy()
    assert np.array_equal(first[:3], first[3:])
    # a call that fails and is caught leaves the rest usable
    with zayascope.capture(model, folder / "caught", tokens=ids):
        try:
            model(ids, stop=0)
        except RuntimeError:
            pass
        model(ids)
    dump = zayascope.load(folder / "caught")
    assert not dump.partial and len(dump["embed"]) == 6 and dump["return"].rows()["step"].tolist() == [1, 1, 1]
    for broken in (KeyboardInterrupt, SystemExit):
        try:
            with zayascope.capture(model, folder / broken.__name__, tokens=ids):
                model.tied.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(broken()), prepend=True)
                model(ids)
        except broken:
            pass
        model.tied._forward_pre_hooks.clear()
        assert zayascope.load(folder / broken.__name__).partial


def check_cut_files(folder):
    model = Recurrent()
    with zayascope.capture(model, folder / "d", follows=True, tokens=torch.tensor([[3, 1, 4, 1, 5]])):
        for t in range(5):
            model(torch.tensor([[3, 1, 4, 1, 5]])[:, t : t + 1])
    whole = zayascope.load(folder / "d")["blocks.0"].numpy()
    assert whole.shape == (5, 6)
    path = folder / "d" / "layers.0.arrow"
    content = path.read_bytes()
    said = manifest(folder / "d") | {"status": "partial"}
    (folder / "d" / "manifest.json").write_text(json.dumps(said))
    counts = set()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        dump = zayascope.load(folder / "d")
        rows = len(dump["blocks.0"])
        counts.add(rows)
        assert rows == 0 or np.array_equal(dump["blocks.0"].numpy(), whole[:rows])
    assert counts == {0, 1, 2, 3, 4, 5}


def check_token_axes(folder):
    class Axes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv1d(4, 5, 3, padding=1)
            self.look = torch.nn.Identity()

        def forward(self, ids):
            x = torch.nn.functional.one_hot(ids, 4).float()
            self.conv(x.transpose(1, 2))
            self.look(x.flatten(0, 1))
            self.look(torch.ones(2, 6, 6, 4))
            self.look(torch.ones(2, 3, 6, 6))
            self.look(torch.ones(6, 4))
            self.look(torch.ones(2, 6))
            self.look(torch.ones(2, 6, dtype=torch.int32))
            self.look(torch.ones(2, 6, 6))
            return self.look(torch.ones(1, 6, 4))

    ids = torch.randint(0, 4, (2, 6))
    model = Axes()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with zayascope.capture(model, folder / "e", tokens=ids) as run:
            model(ids)
    dump = zayascope.load(folder / "e")
    axes = {name: dump[name].spec.axes for name in dump}
    assert axes == {
        "conv": ("T", "d1"),  # channels first by what the module is
        "look": ("T", "d1"),  # 12 rows: both sequences in a row
        "look#2": ("d0", "d1", "d2", "d3"),  # two axes of 6: open
        "look#3": ("T", "d1", "d3"),  # the last axis holds features
        "look#4": ("d0", "d1"),  # 6 rows are not 2 times 6 tokens
        "look#5": ("d0", "d1"),  # [batch, features]
        "look#6": ("T",),  # [batch, tokens] of integers
        "look#7": ("T", "d2"),
        "look#8": ("d0", "d1", "d2"),  # no axis of the batch
        "return": ("d0", "d1", "d2"),
    }, axes
    assert run.ambiguous == ["look#2"] and "look#2" in str(said[0].message)
    with zayascope.capture(model, folder / "f", tokens=ids, token_axis={"look#2": 2}) as run:
        model(ids)
    assert zayascope.load(folder / "f")["look#2"].spec.axes == ("T", "d1", "d3") and run.ambiguous == []
    raises(lambda: _run(model, folder / "g", ids, token_axis={"look#2": 3}), "axis 3 of look#2 to count 6 tokens")


def _run(model, out, ids, **options):
    with zayascope.capture(model, out, tokens=ids, **options):
        model(ids)


def check_values_that_change_kind(folder):
    class Changing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.look = torch.nn.Identity()
            self.rare = torch.nn.Identity()

        def forward(self, ids):
            x = ids[..., None].float() * torch.ones(3)
            if ids.shape[1] == 2:
                x = x.double()
                self.rare(x)
            if ids.shape[1] == 1:
                x = x.repeat(1, 5, 1)
            return self.look(x)

    model, ids = Changing(), torch.arange(7)[None]
    with zayascope.capture(model, folder / "d", tokens=ids, follows=True):
        model(ids[:, :4])
        model(ids[:, 4:6])
        model(ids[:, 6:])
    dump = zayascope.load(folder / "d")
    assert {name: (dump[name].dtype, dump[name].spec.scope, dump[name].spec.nullable, len(dump[name])) for name in dump} == {
        "look": ("F32", "token", True, 4), "return": ("F32", "token", True, 4),
        "rare": ("F64", "token", True, 2), "look~2": ("F64", "token", True, 2), "return~2": ("F64", "token", True, 2),
        "look~3": ("F32", "step", False, 1), "return~3": ("F32", "step", False, 1),
    }
    assert dump["rare"].rows()["position"].tolist() == [4, 5]
    assert column(folder / "d", "rare") == [[4.0] * 3, [5.0] * 3]
    table = pa.ipc.open_file(pa.memory_map(str(folder / "d" / "model.arrow"))).read_all()
    assert table.column("rare").null_count == 5 and table.num_rows == 7 and table.column("look~3").null_count == 6
    stats = pa.ipc.open_file(folder / "d" / "stats.arrow").read_all().to_pylist()
    assert sum(row["tap"] == "rare" for row in stats) == 2


def check_edges_survive_recycled_memory(folder):
    memory = bytearray(4 * 64)

    class FromMemory(torch.nn.Module):
        def forward(self, x):
            return torch.frombuffer(memory, dtype=torch.float32)

    class Recycling(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.made, self.used = FromMemory(), torch.nn.Linear(64, 4)

        def forward(self, x):
            first = self.made(x)
            pointer = first.data_ptr()
            del first
            # the same memory, in the hands of a value that has nothing to do with the first
            other = torch.frombuffer(memory, dtype=torch.float32)
            assert other.data_ptr() == pointer
            return self.used(other)

    for edges in ("storage", "functions"):
        model = Recycling()
        with zayascope.capture(model, folder / edges, edges=edges), torch.no_grad():
            model(torch.randn(1))
        assert zayascope.load(folder / edges).edges == [("used", "return")]


def check_edges_by_storage(folder):
    class Views(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fused, self.left, self.right, self.sum = (torch.nn.Linear(4, 8), torch.nn.Identity(), torch.nn.Identity(), torch.nn.Linear(4, 4))

        def forward(self, x):
            a, b = self.fused(x).chunk(2, dim=-1)
            return self.sum(self.left(a)) + self.right(b).t().t()

    model = Views()
    for edges, expected in (
        ("storage", {("fused", "left"), ("left", "sum"), ("fused", "right")}),
        ("functions", {("fused", "left"), ("left", "sum"), ("fused", "right"), ("sum", "return"), ("right", "return")}),
        ("none", set()),
    ):
        with zayascope.capture(model, folder / edges, edges=edges), torch.no_grad():
            model(torch.randn(3, 4))
        assert set(zayascope.load(folder / edges).edges) == expected, (edges, zayascope.load(folder / edges).edges)


def check_large_calls_are_spooled(folder):
    from zayascope.recording import spool

    model, ids = Recurrent(), torch.tensor([[3, 1, 4]])
    _run(model, folder / "in_memory", ids)
    before, spool.LIMIT = spool.LIMIT, 100
    try:
        model.state = None
        with zayascope.capture(model, folder / "on_disk", tokens=ids) as run:
            result = model(ids)
            held = run._recorder._spool.keep(np.arange(60.0), True)
            assert isinstance(held, np.memmap) and held.tolist() == list(range(60))
            names = {path.name for path in (folder / "on_disk").iterdir()}
            assert names == {"manifest.json", "stats.arrow", "model.arrow", "layers.0.arrow", "layers.1.arrow", "layers.2.arrow"}, "the file has no name"
    finally:
        spool.LIMIT = before
    assert same_bits(zayascope.load(folder / "on_disk")["return"].numpy(), result[0].detach())
    assert zayascope.diff(folder / "in_memory", folder / "on_disk").passes(0)


def check_refusals(folder):
    model = Recurrent()
    ids = torch.tensor([[1, 2]])
    raises(lambda: _run(torch.compile(model), folder / "a", ids), "torch.compile")
    raises(lambda: _run(model, folder / "b", [[1, 2], [3]]), "one length")
    raises(lambda: _run(model, folder / "c", ids, taps="{"), "balanced braces")
    raises(lambda: _run(model, folder / "d", ids, taps="nothing.*"), "a call that gives a value of 'nothing.*'")
    raises(lambda: _run(model, folder / "e", ids, edges="x"), "edges")
    _run(model, folder / "f", ids)
    raises(lambda: _run(model, folder / "f", ids), "expected --out not to exist")
    _run(model, folder / "f", ids, overwrite=True)
    (folder / "f" / "note.txt").write_text("mine")
    raises(lambda: _run(model, folder / "f", ids, overwrite=True), "note.txt")
    with torch.inference_mode():
        _run(model, folder / "inference", ids, inside="strangers")
    assert "return:x#2" in zayascope.load(folder / "inference")


def check_locals(folder):
    torch.manual_seed(5)
    model = Recurrent()
    ids = torch.tensor([[3, 1, 4]])
    with zayascope.capture(model, folder / "d", "return:**", ids, inside="strangers"):
        model(ids)
    dump = zayascope.load(folder / "d")
    assert list(dump) == ["return:ids", "return:x", "return:total", *(f"return:x#{n}" for n in range(2, 6))]
    x = model.embed(ids)
    assert same_bits(dump["return:total"].numpy()[0], x.sum(1).detach())
    for number, block in enumerate((*model.blocks, model.tied)):
        x = x + torch.tanh(block(x))
        assert same_bits(dump[f"return:x#{number + 2}"].numpy(), x[0].detach())
    assert ("return:x#2", "return:x#3") in dump.edges, "through modules that are not recorded"
    import sys

    assert sys.gettrace() is None


def check_locals_have_the_same_numbers_in_every_dtype(folder):
    class Converts(torch.nn.Module):
        def forward(self, x):
            y = x.to(torch.float32)
            y = y.to(torch.float32)
            y = y * 2
            y = y.to(x.dtype)
            y += 1
            return y

    for dtype in (torch.float32, torch.bfloat16):
        model = Converts()
        with zayascope.capture(model, folder / str(dtype), inside="stranger_checks"):
            model(torch.tensor([[1.0, -2.5]], dtype=dtype))
    a, b = (zayascope.load(folder / f"torch.{name}") for name in ("float32", "bfloat16"))
    names = ["return:x", "return:y", "return:y#2", "return:y#3", "return:y#4", "return:y#5", "return"]
    assert list(a) == list(b) == names
    values = [[1, -2.5]] * 3 + [[2, -5]] * 2 + [[3, -4]] * 2
    assert [dump[name].numpy()[0, 0].tolist() for dump in (a, b) for name in names] == values * 2
    assert [b[name].dtype for name in names] == ["BF16", "F32", "F32", "F32", "BF16", "BF16", "BF16"]
    assert zayascope.diff(a, b).passes(0)


def warned(function):
    """What the function warns of, as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return "\n".join(str(each.message) for each in caught)


def check_tokens_of_another_call(folder):
    torch.manual_seed(4)
    model, ids = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10)), torch.tensor([1, 2, 3])
    number = iter(range(100))

    def run(tokens, call=lambda: model(ids)):
        out = folder / str(next(number))
        with zayascope.capture(model, out, tokens=tokens), torch.no_grad():
            call()
        return zayascope.load(out)

    for tokens in ([1, 2], [[1, 2, 3], [4, 5, 6]], torch.tensor([[1, 2, 3, 4]]).T.contiguous()):
        raises(lambda tokens=tokens: run(tokens), "expected tokens that are the call's own")
    raises(lambda: run([1, 2]), "got tokens 1, 2 of shape [1, 2] where input is 1, 2, 3 of shape [1, 3]")
    raises(lambda: run([-1, 2, 3]), "expected tokens from 0 to 2147483647, got -1")
    raises(lambda: run([2**40, 1, 2]), "got 1099511627776")
    assert "used 3 of 5 tokens" in warned(lambda: run([1, 2, 3, 4, 5]))
    assert "tokens are no argument of the call: got tokens 3, 2, 1" in warned(lambda: run([3, 2, 1]))
    for tokens in ([1, 2, 3], [[1, 2, 3]]):
        assert warned(lambda tokens=tokens: run(tokens)) == ""
    # several calls, and a call that is given embeddings, whose ids only the user knows
    assert warned(lambda: run([1, 2, 3, 1, 2, 3], lambda: (model(ids), model(ids)))) == ""
    embedded = torch.randn(1, 3, 4)
    head = torch.nn.Sequential(torch.nn.Linear(4, 2))

    def head_run(tokens):
        with zayascope.capture(head, folder / str(next(number)), tokens=tokens), torch.no_grad():
            head(embedded)

    assert warned(lambda: head_run([7, 8, 9])) == ""
    assert "no value has an axis of the tokens given, [1, 5]" in warned(lambda: head_run([7, 8, 9, 1, 2]))
    assert run([1, 2, 3])["0"].rows()["token_id"].tolist() == [1, 2, 3]


def check_tensors_of_unusual_kinds(folder):
    class Unusual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(4, 4)

        def forward(self, x):
            y = self.inner(x)
            turned = torch.fft.fft(y).conj()
            parts = [torch.nested.nested_tensor([y, y[:1]]), torch.nested.nested_tensor([y, y[:1]], layout=torch.jagged)]
            return {"conj": turned, "imag": turned.imag, "nested": parts[0], "jagged": parts[1], "plain": y}

    torch.manual_seed(5)
    model, x = Unusual(), torch.randn(2, 4)
    with torch.no_grad():
        expected = model(x)
    with zayascope.capture(model, folder / "d"), torch.no_grad():
        model(x)
    dump = zayascope.load(folder / "d")
    turned = expected["conj"].resolve_conj().numpy()
    assert np.array_equal(dump["return.conj"].numpy()[0], np.stack([turned.real, turned.imag], -1))
    assert np.array_equal(dump["return.imag"].numpy()[0], turned.imag)
    assert same_bits(dump["return.plain"].numpy()[0], expected["plain"])
    refused = {entry["name"]: entry["reason"] for entry in manifest(folder / "d")["notRun"]}
    assert set(refused) == {"return.nested", "return.jagged"} and "nested" in refused["return.nested"]
    # calls inside torch.func give what they gave, and stand in the manifest
    inner = model.inner
    gradient = torch.func.grad(lambda x: inner(x).sum())
    mapped, slope = torch.vmap(inner)(torch.stack([x, x + 1])), gradient(x)
    for edges in ("functions", "storage", "none"):
        with zayascope.capture(inner, folder / edges, edges=edges):
            assert torch.equal(torch.vmap(inner)(torch.stack([x, x + 1])), mapped)
            assert torch.equal(gradient(x), slope)
            inner(x)
        assert manifest(folder / edges)["notRun"] == [{"name": "return", "reason": "it has no data of its own (inside torch.func or vmap)"}]
        assert np.array_equal(zayascope.load(folder / edges)["return"].numpy()[0], expected["plain"].numpy())


def check_calls_that_give_nothing(folder):
    class Nothing(torch.nn.Module):
        def forward(self, x):
            return None

    def run(model, x, name, **options):
        with zayascope.capture(model, folder / name, **options):
            model(x)

    x = torch.randn(2, 4)
    raises(lambda: run(torch.nn.Linear(4, 4, device="meta"), x.to("meta"), "meta"), "1 call whose values cannot be held: return: it has no data (device meta)")
    raises(lambda: run(Nothing(), x, "none"), "1 call in which no module returned a tensor")
    raises(lambda: run(torch.nn.Linear(4, 4), x, "taps", taps="lm_head"), "1 call in which other modules returned tensors: return")
    with_return = torch.nn.Sequential()
    with_return.add_module("return", torch.nn.Linear(4, 4))
    with_return.add_module("last", torch.nn.ReLU())
    seen, result = hooked(with_return, x)
    run(with_return, x, "return")
    dump = zayascope.load(folder / "return")
    assert list(dump) == ["return", "last", "return_"]
    for name, value in zip(dump, (value for _, value in seen)):
        assert same_bits(dump[name].numpy()[0], value), name
    raises(lambda: run(torch.nn.Linear(4, 4), x, "/proc/none"), "expected --out where a folder can be made, got /proc/none")
