#include "graph.h"

#include <ggml-backend.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "backend.h"
#include "context.h"
#include "ggml-guard.h"
#include "tensor-bytes.h"

namespace zayascope {

bool computes(const ggml_tensor* tensor) {
  switch (tensor->op) {
    case GGML_OP_NONE:
    case GGML_OP_RESHAPE:
    case GGML_OP_VIEW:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE: return false;
    default: return true;
  }
}

namespace {

// Everything that the outputs need, each after its sources, in ggml's own order. ggml finds it by recursion,
// which ends the process for chains that are longer than the stack is deep; adding the tensors one by one in
// this order gives the same graph without.
std::vector<ggml_tensor*> sourcesFirst(const std::vector<ggml_tensor*>& outputs) {
  struct Visit {
    ggml_tensor* tensor;
    int nextSource;
  };
  std::vector<ggml_tensor*> found;
  std::unordered_set<const ggml_tensor*> seen;
  std::vector<Visit> path;
  for (ggml_tensor* output : outputs) {
    if (seen.insert(output).second) path.push_back({output, 0});
    while (!path.empty()) {
      Visit& visit = path.back();
      if (visit.nextSource == GGML_MAX_SRC) {
        found.push_back(visit.tensor);
        path.pop_back();
        continue;
      }
      ggml_tensor* source = visit.tensor->src[visit.nextSource++];
      if (source != nullptr && seen.insert(source).second) path.push_back({source, 0});
    }
  }
  return found;
}

ggml_context* newHolder(const char* op, size_t sizeBytes) {
  ggml_context* holder = ggml_init({sizeBytes, nullptr, true});
  if (holder == nullptr) fail("BACKEND", op, "expected " + std::to_string(sizeBytes) + " bytes for a graph, got none");
  return holder;
}

}  // namespace

GraphState::GraphState(std::shared_ptr<ContextState> context, const std::vector<ggml_tensor*>& outputs)
    : context_(std::move(context)), tensors_(sourcesFirst(outputs)) {
  const size_t size = tensors_.size() + 1;  // ggml asserts that its lists never fill up
  holder_ = newHolder("Graph", ggml_graph_overhead_custom(size, false));
  try {
    guardGgml("Graph", [&] {
      graph_ = ggml_new_graph_custom(holder_, size, false);
      for (ggml_tensor* tensor : tensors_) ggml_build_forward_expand(graph_, tensor);
    });
  } catch (const Failure&) {
    ggml_free(holder_);
    throw;
  }
  computeNodes_ =
      static_cast<size_t>(std::count_if(ggml_graph_nodes(graph_), ggml_graph_nodes(graph_) + ggml_graph_n_nodes(graph_), computes));
}

GraphState::~GraphState() { ggml_free(holder_); }

void GraphState::hold(const char* op, const BackendState& backend, std::vector<std::shared_ptr<Memory>>& memory) {
  if (regions_.empty()) {
    std::vector<std::shared_ptr<Region>> regions;
    for (ggml_tensor* tensor : tensors_) {
      std::shared_ptr<Region> region = context_->requireRegion(op, tensor);
      if (std::find(regions.begin(), regions.end(), region) == regions.end()) regions.push_back(std::move(region));
    }
    regions_ = std::move(regions);  // tensors never move, so this holds from now on
  }
  for (const std::shared_ptr<Region>& region : regions_) memory.push_back(region->memory(op));
  if (checkedFor_.lock().get() == &backend) return;

  for (const std::shared_ptr<Region>& region : regions_)
    for (const ggml_backend_buffer_t part : region->memory(op)->parts)
      if (!ggml_backend_supports_buft(backend.backend, ggml_backend_buffer_get_type(part)))
        fail("BACKEND", op,
             "expected memory that " + std::string(ggml_backend_dev_name(backend.device)) + " can use, got " +
                 ggml_backend_buffer_name(part));
  for (const ggml_tensor* tensor : tensors_)
    if (computes(tensor) && !guardGgml(op, [&] { return ggml_backend_supports_op(backend.backend, tensor); }))
      fail("BACKEND", op,
           "expected ops that " + std::string(ggml_backend_dev_name(backend.device)) + " has for these types, got " + ggml_op_desc(tensor) +
               " (" + tensor->name + ")");
  checkedFor_ = backend.weak_from_this();
}

Napi::Function Graph::define(Napi::Env env) {
  return withDispose(env, DefineClass(env, className,
                                      {
                                          getter<&Graph::computeNodes>("computeNodes"),
                                          getter<&Graph::nodes>("nodes"),
                                          method<&Graph::keepValues>("keepValues"),
                                          method<&Graph::tensors>("tensors"),
                                          method<&Graph::value>("value"),
                                          method<&Graph::close>("close"),
                                      }));
}

Graph::Graph(const Napi::CallbackInfo& info) : Object(info) {
  protect(info.Env(), [&] {
    const Arguments arguments(info, "Graph", 2);
    const std::shared_ptr<ContextState>& context = arguments.instance<Context>(0, "context").open(arguments.op());
    std::vector<ggml_tensor*> outputs;
    for (const int64_t handle : arguments.integers(1, "outputs", 0, maxSafeInteger)) outputs.push_back(context->at(arguments.op(), handle));
    if (outputs.empty()) fail("BAD_ARGUMENT", arguments.op(), "expected at least one output, got none");
    state_ = std::make_shared<GraphState>(context, outputs);
    accountFor(ggml_graph_overhead_custom(state_->tensors().size() + 1, false));
  });
}

Napi::Value Graph::computeNodes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(open("computeNodes")->computeNodes()));
}

Napi::Value Graph::nodes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), ggml_graph_n_nodes(open("nodes")->ggml()));
}

// Before the graph has memory: that of a value is not used again, so that all are there after a run.
Napi::Value Graph::keepValues(const Napi::CallbackInfo& info) {
  for (ggml_tensor* tensor : open("keepValues")->tensors())
    if (tensor->view_src == nullptr) ggml_set_output(tensor);
  return info.Env().Undefined();
}

// All tensors, each after its sources. Addresses tell which of different graphs are the same.
Napi::Value Graph::tensors(const Napi::CallbackInfo& info) {
  const std::shared_ptr<GraphState>& state = open("tensors");
  const std::vector<ggml_tensor*>& all = state->tensors();
  std::unordered_map<const ggml_tensor*, size_t> handles;
  for (size_t k = 0; k < state->context().tensors().size(); k++) handles.emplace(state->context().tensors()[k], k);
  const Napi::Env env = info.Env();
  const auto address = [&](const ggml_tensor* tensor) -> Napi::Value {
    if (tensor == nullptr) return env.Null();
    return Napi::Number::New(env, static_cast<double>(reinterpret_cast<uintptr_t>(tensor)));
  };
  Napi::Array list = Napi::Array::New(env, all.size());
  for (uint32_t k = 0; k < all.size(); k++) {
    const ggml_tensor* tensor = all[k];
    Napi::Object object = Napi::Object::New(env);
    object.Set("address", address(tensor));
    const auto handle = handles.find(tensor);
    if (handle != handles.end()) object.Set("handle", static_cast<double>(handle->second));
    object.Set("name", tensor->name);
    object.Set("op", ggml_op_name(tensor->op));
    object.Set("computes", computes(tensor));
    object.Set("type", static_cast<double>(tensor->type));
    object.Set("params", paramsHex(tensor->op_params));
    object.Set("flags", static_cast<double>(tensor->flags & ~GGML_TENSOR_FLAG_OUTPUT));
    int last = -1;
    for (int s = 0; s < GGML_MAX_SRC; s++)
      if (tensor->src[s] != nullptr && tensor->src[s] != tensor) last = s;  // a cast has itself as its second
    Napi::Array src = Napi::Array::New(env, static_cast<size_t>(last + 1));
    for (uint32_t s = 0; static_cast<int>(s) <= last; s++) src.Set(s, address(tensor->src[s]));
    object.Set("src", src);
    Napi::Array ne = Napi::Array::New(env, GGML_MAX_DIMS);
    Napi::Array nb = Napi::Array::New(env, GGML_MAX_DIMS);
    for (uint32_t d = 0; d < GGML_MAX_DIMS; d++) {
      ne.Set(d, static_cast<double>(tensor->ne[d]));
      nb.Set(d, static_cast<double>(tensor->nb[d]));
    }
    object.Set("ne", ne);
    object.Set("nb", nb);
    object.Set("viewSrc", address(tensor->view_src));
    object.Set("viewOffs", static_cast<double>(tensor->view_offs));
    object.Set("buffer", tensor->buffer == nullptr ? "" : ggml_backend_buffer_name(tensor->buffer));
    list.Set(k, object);
  }
  return list;
}

// value(k): a copy of the elements of the k-th tensor in order; of a SET_ROWS, of the rows that it wrote.
Napi::Value Graph::value(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "value", 1);
  const std::shared_ptr<GraphState>& state = open(arguments.op());
  const std::vector<ggml_tensor*>& all = state->tensors();
  ggml_tensor* tensor = all[static_cast<size_t>(arguments.integer(0, "tensor", 0, static_cast<double>(all.size()) - 1))];
  const std::shared_ptr<Region> region = state->context().requireRegion(arguments.op(), tensor);
  const std::shared_ptr<Memory> memory = region->memory(arguments.op());
  const Block block = tensor->op == GGML_OP_SET_ROWS ? writtenRows(tensor, rowNumbers(tensor->src[1])) : packed(tensor);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), block.size);
  if (block.size > 0) std::memcpy(bytes.Data(), block.data.get(), block.size);
  return bytes;
}

Napi::Value Graph::close(const Napi::CallbackInfo& info) {
  state_.reset();
  accountFor(0);
  return info.Env().Undefined();
}

}  // namespace zayascope
