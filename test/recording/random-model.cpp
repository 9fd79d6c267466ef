// random-model ARCHITECTURE OUT.gguf [TYPE [WIDTH]]: a small random model of an architecture that libllama knows, as a file.
// libllama itself says which tensors it wants, and of which shape; their values depend on their names alone.
#include <ggml-backend.h>
#include <gguf.h>
#include <llama.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr uint32_t blocks = 4, vocabulary = 256, experts = 8;
uint32_t width = 256, feedForward = 256;

struct Random {
  uint64_t state;
  double uniform() {
    state += 0x9e3779b97f4a7c15ull;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return static_cast<double>((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
  }
  double normal() { return std::sqrt(-2.0 * std::log(1.0 - uniform())) * std::cos(6.283185307179586 * uniform()); }
};

uint64_t hashOf(const char* text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (; *text != 0; text++) hash = (hash ^ static_cast<unsigned char>(*text)) * 0x100000001b3ull;
  return hash;
}

void fill(ggml_tensor* tensor, void*) {
  Random random{hashOf(tensor->name)};
  const std::string name = tensor->name;
  const bool isNorm = name.find("norm") != std::string::npos;
  const double scale = isNorm ? 0.1 : 1.0 / std::sqrt(static_cast<double>(tensor->ne[0]));
  const double mean = isNorm && name.find("weight") != std::string::npos ? 1.0 : 0.0;
  std::vector<float> values(static_cast<size_t>(ggml_nelements(tensor)));
  for (float& value : values) value = static_cast<float>(mean + scale * random.normal());
  if (tensor->type == GGML_TYPE_F32) {
    ggml_backend_tensor_set(tensor, values.data(), 0, ggml_nbytes(tensor));
    return;
  }
  std::vector<uint8_t> bytes(ggml_nbytes(tensor));
  ggml_quantize_chunk(tensor->type, values.data(), bytes.data(), 0, ggml_nrows(tensor), tensor->ne[0], nullptr);
  ggml_backend_tensor_set(tensor, bytes.data(), 0, bytes.size());
}

bool isOneOf(const std::string& name, const std::set<std::string>& names) { return names.count(name) > 0; }

int wanted = -1;
std::string reason;

void listen(ggml_log_level level, const char* text, void*) {
  if (level < GGML_LOG_LEVEL_ERROR) return;
  reason += text;
  const char* got = std::strstr(text, ", got ");
  if (got != nullptr) wanted = std::atoi(got + 6);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const bool isMixtral = std::strcmp(argv[1], "mixtral") == 0;  // which is of architecture llama
  const std::string architecture = isMixtral ? "llama" : argv[1];
  if (argc > 4) width = feedForward = static_cast<uint32_t>(std::stoul(argv[4]));
  llama_log_set(listen, nullptr);
  ggml_backend_load_all();
  gguf_context* gguf = gguf_init_empty();
  std::string key;
  const auto named = [&](const char* name) { return (key = architecture + "." + name).c_str(); };
  const auto u32 = [&](const char* name, uint32_t value) { gguf_set_val_u32(gguf, named(name), value); };
  const auto f32 = [&](const char* name, float value) { gguf_set_val_f32(gguf, named(name), value); };
  const auto perBlock = [&](const char* name, const std::function<uint32_t(uint32_t)>& value) {
    std::vector<uint32_t> values;
    for (uint32_t k = 0; k < blocks; k++) values.push_back(value(k));
    gguf_set_arr_data(gguf, named(name), GGUF_TYPE_UINT32, values.data(), blocks);
  };

  const bool isLatent = isOneOf(architecture, {"deepseek2", "kimi-linear"});
  const bool isHybrid = isOneOf(architecture, {"jamba", "nemotron_h", "granitehybrid", "lfm2", "lfm2moe", "kimi-linear"});
  const bool isDense = isOneOf(architecture, {"llama", "gemma3", "mamba2", "lfm2", "nemotron_h", "qwen3", "qwen35"});
  std::vector<const char*> optional;
  if (isOneOf(architecture, {"falcon-h1", "granitehybrid", "nemotron_h"})) optional = {"ssm_dt.bias", "ssm_conv1d.bias"};
  if (isOneOf(architecture, {"qwen35", "qwen35moe", "qwen3next"})) optional = {"ssm_dt.bias", "attn_qkv.weight", "attn_gate.weight"};
  const bool isNext = architecture.rfind("qwen3", 0) == 0;
  const uint32_t heads = isLatent ? 1 : 2;
  gguf_set_val_str(gguf, "general.architecture", architecture.c_str());
  gguf_set_val_str(gguf, "tokenizer.ggml.model", "no_vocab");
  u32("vocab_size", vocabulary);
  u32("context_length", 512);
  u32("embedding_length", width);
  u32("block_count", blocks);
  u32("leading_dense_block_count", 1);
  if (architecture == "nemotron_h")
    perBlock("feed_forward_length", [](uint32_t k) { return k <= 1 ? 0u : feedForward; });
  else
    u32("feed_forward_length", feedForward);
  if (isHybrid) {
    perBlock("attention.head_count", [&](uint32_t k) { return k % 2 == 1 ? 0 : heads; });
    perBlock("attention.head_count_kv", [&](uint32_t k) { return k % 2 == 1 ? 0 : heads; });
  } else {
    u32("attention.head_count", heads);
    u32("attention.head_count_kv", heads);
  }
  if (isLatent) {
    u32("attention.key_length", 576);
    u32("attention.value_length", 512);
    u32("rope.dimension_count", 64);
    u32("attention.key_length_mla", 192);
    u32("attention.value_length_mla", 128);
  }
  u32("full_attention_interval", 2);
  u32("attention.q_lora_rank", 512);
  u32("attention.kv_lora_rank", 512);
  u32("attention.sliding_window", 16);
  u32("attention.sliding_window_pattern", 2);
  f32("attention.layer_norm_epsilon", 1e-5f);
  f32("attention.layer_norm_rms_epsilon", 1e-5f);
  const uint32_t quarter = width / heads / 8;
  const uint32_t sections[4] = {quarter, quarter, quarter, quarter};
  gguf_set_arr_data(gguf, named("rope.dimension_sections"), GGUF_TYPE_INT32, sections, 4);
  u32("expert_feed_forward_length", feedForward);
  u32("expert_shared_feed_forward_length", feedForward);
  if (!isDense || isMixtral) {
    u32("expert_count", experts);
    u32("expert_used_count", 2);
    u32("expert_shared_count", 1);
    u32("expert_gating_func", 2);
  }
  f32("logit_scale", 1.0f);
  u32("ssm.inner_size", isNext ? width : 2 * width);
  u32("ssm.conv_kernel", 4);
  u32("ssm.state_size", 128);
  u32("ssm.time_step_rank", heads);
  u32("ssm.group_count", 2);
  u32("kda.head_dim", 128);
  u32("wkv.head_size", width / heads);
  u32("shortconv.l_cache", 3);
  u32("time_mix_extra_dim", 64);
  u32("time_decay_extra_dim", 128);

  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  params.use_extra_bufts = false;
  // libllama takes a file's word for how many tensors there are; told too many, it says how many it wanted.
  llama_model* model = nullptr;
  for (int count = 4096; model == nullptr;) {
    gguf_context* listed = gguf_init_empty();
    gguf_set_kv(listed, gguf);
    for (int k = 0; k < count; k++) {
      // Of tensors that are optional by their loader, and without which the graph is not built, the names.
      const size_t optionalName = static_cast<size_t>(k) / blocks;
      ggml_tensor tensor{};
      tensor.type = GGML_TYPE_F32;
      for (int axis = 0; axis < GGML_MAX_DIMS; axis++) {
        tensor.ne[axis] = 1;
        tensor.nb[axis] = 4;
      }
      if (optionalName < optional.size())
        std::snprintf(tensor.name, sizeof tensor.name, "blk.%d.%s", k % static_cast<int>(blocks), optional[optionalName]);
      else
        std::snprintf(tensor.name, sizeof tensor.name, "unused.%d", k);
      gguf_add_tensor(listed, &tensor);
    }
    wanted = -1;
    model = llama_model_init_from_user(listed, fill, nullptr, params);
    if (model == nullptr && (wanted < 0 || wanted == count)) {
      std::fputs(reason.c_str(), stderr);
      return 1;
    }
    count = wanted;
  }
  if (model == nullptr) return 1;
  llama_model_save_to_file(model, argv[2]);
  if (argc > 3 && std::stoi(argv[3]) != 0) {
    llama_model_quantize_params quantize = llama_model_quantize_default_params();
    quantize.ftype = static_cast<llama_ftype>(std::stoi(argv[3]));
    quantize.nthread = 1;
    const std::string out = std::string(argv[2]) + ".quantised";
    if (llama_model_quantize(argv[2], out.c_str(), &quantize) != 0 || std::rename(out.c_str(), argv[2]) != 0) return 1;
  }
  llama_model_free(model);
  return 0;
}
