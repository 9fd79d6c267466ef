// Hands tensors of every kind of layout and dtype to the callback, without a model. usage: dtypes FOLDER [PATTERN...]
#include <cstdlib>

#include "zayascope_dump.h"

static void show(zayascope::dump &dump, ggml_tensor *tensor, const char *name) {
  ggml_set_name(tensor, name);
  if (zayascope::dump::callback(tensor, true, &dump) && !zayascope::dump::callback(tensor, false, &dump)) std::exit(3);
}

int main(int argc, char **argv) {
  zayascope::dump dump(argv[1], std::vector<std::string>(argv + 2, argv + argc));
  ggml_context *context = ggml_init({size_t{1} << 20, nullptr, true});
  ggml_tensor *f32 = ggml_new_tensor_2d(context, GGML_TYPE_F32, 64, 2);
  ggml_tensor *transposed = ggml_transpose(context, f32);
  ggml_tensor *column = ggml_view_2d(context, f32, 1, 2, f32->nb[1], 3 * sizeof(float));
  ggml_tensor *f16 = ggml_new_tensor_2d(context, GGML_TYPE_F16, 64, 2);
  ggml_tensor *bf16 = ggml_new_tensor_2d(context, GGML_TYPE_BF16, 64, 2);
  ggml_tensor *i32 = ggml_new_tensor_2d(context, GGML_TYPE_I32, 1, 2);
  ggml_tensor *q8 = ggml_new_tensor_2d(context, GGML_TYPE_Q8_0, 64, 2);
  ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors_from_buft(context, ggml_backend_cpu_buffer_type());

  std::vector<float> values(128);
  for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(i) / 3 - 20;
  ggml_backend_tensor_set(f32, values.data(), 0, 512);
  std::vector<ggml_fp16_t> halves(128);
  ggml_fp32_to_fp16_row(values.data(), halves.data(), 128);
  ggml_backend_tensor_set(f16, halves.data(), 0, 256);
  std::vector<ggml_bf16_t> brains(128);
  ggml_fp32_to_bf16_row(values.data(), brains.data(), 128);
  ggml_backend_tensor_set(bf16, brains.data(), 0, 256);
  const int32_t integers[] = {7, -2};
  ggml_backend_tensor_set(i32, integers, 0, 8);
  std::vector<uint8_t> quantized(ggml_nbytes(q8));
  ggml_quantize_chunk(GGML_TYPE_Q8_0, values.data(), quantized.data(), 0, 2, 64, nullptr);
  ggml_backend_tensor_set(q8, quantized.data(), 0, quantized.size());

  show(dump, f32, "warm-up");  // before the first batch: not written
  const llama_token tokens[] = {4, 5};
  dump.begin(tokens, 2);
  show(dump, f32, "f32");
  show(dump, transposed, "transposed");
  show(dump, column, "column");
  show(dump, f16, "f16");
  show(dump, bf16, "bf16");
  show(dump, i32, "i32");
  show(dump, q8, "a \"quoted\" q8");
  show(dump, f32, "node_7");
  show(dump, f32, "f32 (view)");
  ggml_backend_buffer_free(buffer);
  ggml_free(context);
  if (!dump.finish()) std::fprintf(stderr, "%s\n", dump.error().c_str());
  return dump.error().empty() ? 0 : 1;
}
