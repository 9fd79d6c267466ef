"""Model files of other programs for model-files.test.ts, made by gguf-py and torch. make_models.py TINY_MODEL BASE.gguf OUT"""
import json, os, shutil, sys
import gguf, numpy as np, torch
from safetensors.torch import load_file, save_file

tiny, base, out = sys.argv[1:4]
reader = gguf.GGUFReader(base)
EPS = 'zaya.attention.layer_norm_rms_epsilon'


def write(name, skip=(), rename=lambda n: n, keep=lambda n: True, extra=lambda w: None, replace=None, endian=gguf.GGUFEndian.LITTLE):
    writer = gguf.GGUFWriter(os.path.join(out, name), 'zaya', endianess=endian)
    for key, field in reader.fields.items():
        if key.startswith('GGUF.') or key == 'general.architecture' or key in skip:
            continue
        # gguf-py writes no empty arrays (a tokenizer of bytes has no merges).
        if field.types[0] == gguf.GGUFValueType.ARRAY and len(field.contents()) == 0:
            continue
        writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None)
    extra(writer)
    for tensor in reader.tensors:
        if not keep(tensor.name):
            continue
        data, dtype = (replace or {}).get(tensor.name, (np.array(tensor.data), tensor.tensor_type))
        plain = dtype.name in ('F32', 'F16')
        writer.add_tensor(rename(tensor.name), data, raw_dtype=None if plain else dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def third(name):
    for old, new in (('ssm_conv1d', 'cca_conv_dw'), ('ffn_gate_inp', 'zaya_router_down'), ('ffn_norm', 'zaya_router_norm'), ('ffn_gate.', 'zaya_router_mlp0.')):
        name = name.replace(old, new)
    return name


write('third.gguf', skip=('zaya.expert_feed_forward_length', EPS), rename=third, extra=lambda w: w.add_layer_norm_eps(1e-5))
write('yarn.gguf', extra=lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.YARN))
write('sigmoid.gguf', extra=lambda w: w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID))
write('big.gguf', endian=gguf.GGUFEndian.BIG)
names = [tensor.name for tensor in reader.tensors]
for part in (0, 1):
    own = set(names[part::2])
    write(f'split-0000{part + 1}-of-00002.gguf', keep=lambda n: n in own,
          extra=lambda w: (w.add_uint16('split.no', part), w.add_uint16('split.count', 2), w.add_int32('split.tensors.count', len(names))))
blob = 'sha256-' + 'ab' * 32
os.makedirs(os.path.join(out, 'ollama', 'blobs'))
os.makedirs(os.path.join(out, 'ollama', 'manifests', 'registry', 'library', 'zaya'))
shutil.copy(base, os.path.join(out, 'ollama', 'blobs', blob))
with open(os.path.join(out, 'ollama', 'manifests', 'registry', 'library', 'zaya', 'latest'), 'w') as file:
    json.dump({'schemaVersion': 2, 'layers': [{'mediaType': 'application/vnd.ollama.image.model', 'digest': blob.replace('-', ':')}]}, file)

# Blocks of random bits, and what gguf-py makes of them. Bits that are a scale of NaN or infinity are drawn again.
rng = np.random.default_rng(5)
blocks = {}
for name in sys.argv[4].split(','):
    if name not in gguf.GGMLQuantizationType.__members__:
        continue
    kind = gguf.GGMLQuantizationType[name]
    size, count = gguf.GGML_QUANT_SIZES[kind][1], 24
    data = rng.integers(0, 256, (count, size), dtype=np.uint8)
    with np.errstate(all='ignore'):
        try:
            values = gguf.quants.dequantize(data, kind).astype(np.float32)
        except NotImplementedError:
            continue
    good = np.isfinite(values).all(1) & (np.abs(values).max(1) < 1e30)
    blocks[name] = {'bytes': data[good].ravel().tolist(), 'values': values[good].astype(np.float64).ravel().tolist()}

weights = load_file(os.path.join(tiny, 'model.safetensors'))


def folder(name, config=None):
    path = os.path.join(out, name)
    os.makedirs(path)
    for file in os.listdir(tiny):
        if not file.endswith('.safetensors'):
            shutil.copy(os.path.join(tiny, file), path)
    if config is not None:
        own = json.load(open(os.path.join(tiny, 'config.json')))
        json.dump({**own, **config}, open(os.path.join(path, 'config.json'), 'w'))
    return path


torch.save(weights, os.path.join(folder('pytorch'), 'pytorch_model.bin'))
# Matrices as columns of wider ones, vectors as every second element: what torch.save keeps as views.
views = {key: torch.cat([w, w * 2], -1)[..., : w.shape[-1]] if w.dim() > 1 else torch.stack([w, w * 2], -1)[:, 0] for key, w in weights.items()}
torch.save(views, os.path.join(folder('pytorch-views'), 'pytorch_model.bin'))
path = folder('pytorch-shards')
keys = sorted(weights)
shards = {f'pytorch_model-0000{k + 1}-of-00002.bin': {key: weights[key] for key in keys[k::2]} for k in (0, 1)}
for name, state in shards.items():
    torch.save(state, os.path.join(path, name))
json.dump({'weight_map': {key: name for name, state in shards.items() for key in state}}, open(os.path.join(path, 'pytorch_model.bin.index.json'), 'w'))
weight = 'model.layers.0.self_attn.o_proj.weight'
for case, beside in (('fp8', '_scale_inv'), ('compressed', '_scale')):
    save_file({**weights, weight: weights[weight] * 8, weight + beside: torch.full((1, 1), 0.125)}, os.path.join(folder(case), 'model.safetensors'))
save_file({**weights, weight.replace('.weight', '.scales'): torch.ones(1)}, os.path.join(folder('scales'), 'model.safetensors'))
save_file({**weights, 'model.layers.0.scale': torch.ones(1)}, os.path.join(folder('extra-scale'), 'model.safetensors'))
for case, config in (('quantised', {'quantization_config': {'quant_method': 'fp8', 'weight_block_size': [128, 128]}}),
                     ('mlx', {'quantization': {'group_size': 64, 'bits': 4}}),
                     ('infinite', {'time_step_limit': [0.0, float('inf')], 'aux_loss': float('nan')})):
    save_file(weights, os.path.join(folder(case, config), 'model.safetensors'))
path = folder('stale')
save_file(weights, os.path.join(path, 'm-1.safetensors'))
json.dump({'weight_map': {key: 'm-1.safetensors' for key in [*weights, 'lm_head.weight']}}, open(os.path.join(path, 'model.safetensors.index.json'), 'w'))
path = folder('pointer')
with open(os.path.join(path, 'model.safetensors'), 'w') as file:
    file.write('version https://git-lfs.github.com/spec/v1\noid sha256:' + 'ab' * 32 + '\nsize 4116544\n')
cache = os.path.join(out, 'cache', 'models--Zyphra--tiny')
os.makedirs(os.path.join(cache, 'refs'))
os.makedirs(os.path.join(cache, 'blobs'))
with open(os.path.join(cache, 'refs', 'main'), 'w') as file:
    file.write('c' * 40)
shutil.copytree(cache, os.path.join(out, 'unfinished'))
os.makedirs(os.path.join(out, 'models--blobs--alone', 'blobs'))
shutil.copytree(tiny, os.path.join(cache, 'snapshots', 'c' * 40))
os.makedirs(os.path.join(cache, 'snapshots', 'd' * 40))
print(json.dumps(blocks))
