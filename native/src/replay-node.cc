#include "replay-node.h"

#include <ggml-backend.h>

#include <cstring>
#include <vector>

#include "arguments.h"
#include "backend.h"
#include "ggml-guard.h"

namespace zayascope {
namespace {

constexpr const char* functionName = "replayNode";

// Frees what a replay has taken, whichever way it ends.
struct Workspace {
  ggml_context* context = nullptr;
  std::vector<ggml_backend_buffer_t> buffers;
  Workspace() = default;
  ~Workspace() {
    for (const ggml_backend_buffer_t buffer : buffers) ggml_backend_buffer_free(buffer);
    ggml_free(context);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

ggml_op opOfName(const std::string& name) {
  for (int op = GGML_OP_NONE + 1; op < GGML_OP_COUNT; op++) {
    if (name != ggml_op_name(static_cast<ggml_op>(op))) continue;
    // Their parameters are addresses of functions.
    if (op == GGML_OP_MAP_CUSTOM1 || op == GGML_OP_MAP_CUSTOM2 || op == GGML_OP_MAP_CUSTOM3 || op == GGML_OP_CUSTOM) break;
    return static_cast<ggml_op>(op);
  }
  fail("BAD_ARGUMENT", functionName, "expected an op that ggml computes by itself, got " + name);
}

// Bytes from the first to the last of a tensor of these sizes; a double, because they may be anything.
double spanOf(ggml_type type, const std::vector<int64_t>& ne, const std::vector<int64_t>& nb) {
  double span = static_cast<double>(ggml_row_size(type, 1) > 0 ? ggml_type_size(type) : 0);
  for (int k = 0; k < GGML_MAX_DIMS; k++) {
    if (ne[k] == 0) return 0;
    const double steps = k == 0 ? static_cast<double>(ne[0] / ggml_blck_size(type) - 1) : static_cast<double>(ne[k] - 1);
    span += steps * static_cast<double>(nb[k]);
  }
  return span;
}

ggml_tensor* newTensor(const Arguments& arguments, const Napi::Object& given, ggml_context* context, const std::vector<ggml_backend_buffer_t>& buffers,
                       const std::vector<size_t>& sizes) {
  const ggml_type type = arguments.checkType(given.Get("type"));
  const std::vector<int64_t> ne = arguments.checkSizes(given.Get("ne"), "ne", 0);
  const std::vector<int64_t> nb = arguments.checkSizes(given.Get("nb"), "nb", 0);
  const auto root = static_cast<size_t>(arguments.checkInteger(given.Get("root"), "root", 0, static_cast<double>(sizes.size()) - 1));
  const auto offset = static_cast<size_t>(arguments.checkInteger(given.Get("offset"), "offset", 0, maxSafeInteger));
  double elements = 1;
  for (const int64_t size : ne) elements *= static_cast<double>(size);
  if (elements > maxSafeInteger / 64 || ne[0] % ggml_blck_size(type) != 0 ||
      static_cast<double>(offset) + spanOf(type, ne, nb) > static_cast<double>(sizes[root]))
    fail("BAD_ARGUMENT", functionName,
         "expected a tensor within the " + std::to_string(sizes[root]) + " bytes of its memory, got one of " + std::to_string(ne[0]) + " x " +
             std::to_string(ne[1]) + " x " + std::to_string(ne[2]) + " x " + std::to_string(ne[3]) + " at " + std::to_string(offset));
  // Sizes of 1, so that ggml computes nothing of what may overflow; then as they were recorded.
  ggml_tensor* tensor = ggml_new_tensor_1d(context, type, ggml_blck_size(type));
  for (int k = 0; k < GGML_MAX_DIMS; k++) {
    tensor->ne[k] = ne[k];
    tensor->nb[k] = static_cast<size_t>(nb[k]);
  }
  tensor->buffer = buffers[root];
  tensor->data = static_cast<char*>(ggml_backend_buffer_get_base(buffers[root])) + offset;
  return tensor;
}

ggml_tensor* rootTensor(ggml_context* context, ggml_backend_buffer_t buffer, size_t size) {
  ggml_tensor* tensor = ggml_new_tensor_1d(context, GGML_TYPE_I8, static_cast<int64_t>(size));
  tensor->buffer = buffer;
  tensor->data = ggml_backend_buffer_get_base(buffer);
  return tensor;
}

}  // namespace

Napi::Value replayNode(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, functionName, 4);
  const std::shared_ptr<BackendState> backend = arguments.instance<Backend>(0, "backend").open(functionName);
  const Napi::Array roots = arguments.list(1, "roots");
  const Napi::Array given = arguments.list(2, "tensors");
  const Napi::Object node = arguments.object(3, "node");
  Workspace work;
  const size_t tensors = given.Length() + roots.Length();
  work.context = ggml_init({(tensors + 1) * ggml_tensor_overhead() + ggml_graph_overhead_custom(1, false), nullptr, true});
  if (work.context == nullptr) fail("BACKEND", functionName, "expected memory for a graph, got none");

  std::vector<size_t> sizes;
  std::vector<ggml_tensor*> memory;
  std::vector<Napi::Uint8Array> arrays;
  for (uint32_t k = 0; k < roots.Length(); k++) {
    const Napi::Value value = roots.Get(k);
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
      arguments.reject("roots", "arrays of bytes", value);
    arrays.push_back(value.As<Napi::Uint8Array>());
    const size_t size = arrays.back().ByteLength();
    // ggml's kernels read whole vectors, also behind a row's end.
    const ggml_backend_buffer_t buffer = ggml_backend_alloc_buffer(backend->backend, size + 512);
    if (buffer == nullptr) fail("BACKEND", functionName, "expected " + std::to_string(size) + " bytes of the device's memory, got none");
    work.buffers.push_back(buffer);
    ggml_backend_buffer_clear(buffer, 0);
    sizes.push_back(size);
    memory.push_back(rootTensor(work.context, buffer, size));
    if (size > 0) ggml_backend_tensor_set(memory.back(), arrays.back().Data(), 0, size);
  }
  std::vector<ggml_tensor*> made;
  for (uint32_t k = 0; k < given.Length(); k++)
    made.push_back(newTensor(arguments, given.Get(k).As<Napi::Object>(), work.context, work.buffers, sizes));
  const auto at = [&](const Napi::Value& value, const char* name) {
    return static_cast<size_t>(arguments.checkInteger(value, name, 0, static_cast<double>(made.size()) - 1));
  };

  const size_t place = at(node.Get("tensor"), "tensor");
  ggml_tensor* result = made[place];
  result->op = opOfName(node.Get("op").ToString());
  const Napi::Value params = node.Get("params");
  if (!params.IsTypedArray() || params.As<Napi::TypedArray>().ByteLength() > sizeof result->op_params)
    arguments.reject("params", "at most 64 bytes", params);
  const Napi::TypedArray bytes = params.As<Napi::TypedArray>();
  std::memcpy(result->op_params, static_cast<const uint8_t*>(bytes.ArrayBuffer().Data()) + bytes.ByteOffset(), bytes.ByteLength());
  result->flags = static_cast<int32_t>(arguments.checkInteger(node.Get("flags"), "flags", 0, 1 << 30)) | GGML_TENSOR_FLAG_COMPUTE;
  const Napi::Value src = node.Get("src");
  if (!src.IsArray() || src.As<Napi::Array>().Length() > GGML_MAX_SRC) arguments.reject("src", "at most 10 sources", src);
  for (uint32_t k = 0; k < src.As<Napi::Array>().Length(); k++) {
    const Napi::Value source = src.As<Napi::Array>().Get(k);
    if (!source.IsNull()) result->src[k] = made[at(source, "src")];
  }

  if (!guardGgml(functionName, [&] { return ggml_backend_supports_op(backend->backend, result); }))
    fail("BACKEND", functionName, std::string("expected an op that the device has for these types, got ") + ggml_op_desc(result));
  ggml_cgraph* graph = ggml_new_graph_custom(work.context, 1, false);
  ggml_graph_add_node(graph, result);
  backend->prepareThreads();
  clearGgmlMessage();
  const ggml_status status = ggml_backend_graph_compute(backend->backend, graph);
  if (status != GGML_STATUS_SUCCESS)
    fail("BACKEND", functionName, std::string("expected the node to run, got ") + ggml_status_to_string(status) + ": " + lastGgmlMessage());
  const Napi::Object target = given.Get(static_cast<uint32_t>(place)).As<Napi::Object>();
  const auto root = static_cast<size_t>(target.Get("root").ToNumber().Int64Value());
  if (sizes[root] > 0) ggml_backend_tensor_get(memory[root], arrays[root].Data(), 0, sizes[root]);
  return info.Env().Undefined();
}

}  // namespace zayascope
