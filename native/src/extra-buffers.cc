#include "extra-buffers.h"

#include <memory>
#include <vector>

#include "failure.h"
#include "ggml-guard.h"

namespace zayascope {
namespace {

std::vector<ggml_backend_buffer_type_t> extraBufferTypes(ggml_backend_dev_t device) {
  const auto list = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
      ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
  std::vector<ggml_backend_buffer_type_t> types;
  if (list == nullptr) return types;
  for (ggml_backend_buffer_type_t* type = list(device); type != nullptr && *type != nullptr; type++) types.push_back(*type);
  return types;
}

// Asks about the product of a weight of this type and shape with F32 rows: by an expert per row if it has
// three axes. ggml answers by the buffer that the weight lies in, so the question needs one; it may be empty.
bool multiplies(ggml_backend_dev_t device, ggml_backend_buffer_type_t type, const ggml_tensor* leaf) {
  struct Release {
    void operator()(ggml_context* context) const { ggml_free(context); }
    void operator()(ggml_backend_buffer_t buffer) const { ggml_backend_buffer_free(buffer); }
  };
  const std::unique_ptr<ggml_context, Release> context(ggml_init({4 * ggml_tensor_overhead(), nullptr, true}));
  const std::unique_ptr<ggml_backend_buffer, Release> buffer(ggml_backend_buft_alloc_buffer(type, 0));
  if (context == nullptr || buffer == nullptr) return false;
  ggml_tensor* weight = ggml_new_tensor(context.get(), leaf->type, GGML_MAX_DIMS, leaf->ne);
  weight->buffer = buffer.get();
  constexpr int64_t rows = 8;
  ggml_tensor* product = nullptr;
  if (ggml_n_dims(leaf) == 3) {
    ggml_tensor* x = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, leaf->ne[0], 1, rows);
    product = ggml_mul_mat_id(context.get(), weight, x, ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, 1, rows));
  } else {
    product = ggml_mul_mat(context.get(), weight, ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, leaf->ne[0], rows));
  }
  return ggml_backend_dev_supports_op(device, product);
}

}  // namespace

Napi::Value extraBufferType(const Napi::CallbackInfo& info, ggml_backend_dev_t device, const ggml_tensor* tensor) {
  const char* name = guardGgml("extraBufferType", [&]() -> const char* {
    for (const ggml_backend_buffer_type_t type : extraBufferTypes(device))
      if (multiplies(device, type, tensor)) return ggml_backend_buft_name(type);
    return nullptr;
  });
  return name == nullptr ? info.Env().Undefined() : Napi::String::New(info.Env(), name);
}

ggml_backend_buffer_type_t extraBufferType(const char* op, ggml_backend_dev_t device, const std::string& name) {
  std::string names;
  for (const ggml_backend_buffer_type_t type : extraBufferTypes(device)) {
    if (name == ggml_backend_buft_name(type)) return type;
    names += (names.empty() ? "" : ", ") + std::string(ggml_backend_buft_name(type));
  }
  fail("BAD_ARGUMENT", op, "expected an extra buffer type of the device (" + (names.empty() ? "it has none" : names) + "), got \"" + name + "\"");
}

void requireExtraBuffer(const char* op, ggml_backend_dev_t device, ggml_backend_buffer_type_t type, const ggml_tensor* leaf) {
  if (!guardGgml(op, [&] { return multiplies(device, type, leaf); }))
    fail("BACKEND", op,
         "expected a tensor that the device multiplies with from " + std::string(ggml_backend_buft_name(type)) + ", got " + ggml_type_name(leaf->type) +
             " (" + leaf->name + ")");
}

}  // namespace zayascope
