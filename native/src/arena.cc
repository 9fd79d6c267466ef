#include "arena.h"

#include <unordered_map>
#include <unordered_set>

#include "backend.h"
#include "ggml-guard.h"
#include "graph.h"

namespace zayascope {
namespace {

constexpr const char* op = "plan";

// Tensors that the plan will place, by the graph that they belong to. Two graphs must not share one, since
// each graph overwrites what the others left.
std::unordered_map<ggml_tensor*, GraphState*> tensorsToPlace(const std::vector<std::shared_ptr<GraphState>>& graphs) {
  std::unordered_map<ggml_tensor*, GraphState*> owners;
  for (const std::shared_ptr<GraphState>& graph : graphs)
    for (ggml_tensor* tensor : graph->tensors()) {
      if (tensor->view_src != nullptr) continue;
      if (tensor->data != nullptr) {
        graph->context().requireRegion(op, tensor);
        continue;
      }
      if (tensor->op == GGML_OP_NONE && (tensor->flags & GGML_TENSOR_FLAG_INPUT) == 0)
        fail("BACKEND", op,
             "expected leaves to have memory or to be inputs, got " + std::string(tensor->name) + " without; allocate or attach it first");
      const auto [at, fresh] = owners.emplace(tensor, graph.get());
      if (!fresh && at->second != graph.get())
        fail("BAD_ARGUMENT", op,
             "expected graphs that share no intermediate value, got " + std::string(tensor->name) +
                 " in two; copy it into allocated memory");
    }
  return owners;
}

void unplace(const std::unordered_map<ggml_tensor*, GraphState*>& owners, const std::vector<std::shared_ptr<GraphState>>& graphs) {
  for (const auto& entry : owners) entry.first->data = nullptr, entry.first->buffer = nullptr;
  for (const std::shared_ptr<GraphState>& graph : graphs)
    for (ggml_tensor* tensor : graph->tensors())
      if (tensor->view_src != nullptr && owners.count(tensor->view_src) > 0) tensor->data = nullptr, tensor->buffer = nullptr;
}

// Free bytes of the device; SIZE_MAX for the CPU, whose memory the operating system manages.
size_t freeBytes(ggml_backend_dev_t device) {
  if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU) return SIZE_MAX;
  size_t free = 0;
  size_t total = 0;
  ggml_backend_dev_memory(device, &free, &total);
  return free;
}

// Each graph alone first: an allocation that the device must split could move while later graphs are
// reserved, and the addresses of earlier ones would dangle. Memory that is short is found here too: some
// drivers fail late or move it to the host.
void requireRoom(ggml_backend_dev_t device, ggml_backend_buffer_type_t type, const std::vector<std::shared_ptr<GraphState>>& graphs) {
  const size_t limit = ggml_backend_buft_get_max_size(type);
  const size_t free = freeBytes(device);
  if (limit == SIZE_MAX && free == SIZE_MAX) return;
  for (const std::shared_ptr<GraphState>& graph : graphs) {
    const std::unique_ptr<ggml_gallocr, decltype(&ggml_gallocr_free)> measure(ggml_gallocr_new(type), ggml_gallocr_free);
    size_t size = 0;
    ggml_gallocr_reserve_n_size(measure.get(), graph->ggml(), nullptr, nullptr, &size);
    if (size > limit)
      fail("BACKEND", op,
           "expected a graph that fits one allocation of " + std::to_string(limit) + " bytes, got " + std::to_string(size) +
               "; cut it in smaller graphs");
    if (size > free)
      fail("BACKEND", op,
           "expected " + std::to_string(size) + " bytes of free memory on " + ggml_backend_dev_name(device) +
               " for intermediate values, got " + std::to_string(free) + "; use fewer tokens or taps");
  }
}

void place(Memory& memory, const std::vector<std::shared_ptr<GraphState>>& graphs) {
  const auto reserve = [&](GraphState& graph) {
    if (!ggml_gallocr_reserve(memory.allocator, graph.ggml()))
      fail("BACKEND", op, "expected memory for the largest graph, got: " + lastGgmlMessage());
  };
  // The first pass grows the buffer to the largest graph. The second lays out each graph in it; reserving
  // again is needed, because ggml_gallocr_alloc_graph() would reuse the layout of another graph with as many
  // nodes of the same sizes. It does not reallocate a buffer that is large enough.
  for (const std::shared_ptr<GraphState>& graph : graphs) reserve(*graph);
  for (const std::shared_ptr<GraphState>& graph : graphs) {
    reserve(*graph);
    if (!ggml_gallocr_alloc_graph(memory.allocator, graph->ggml()))
      fail("BACKEND", op, "expected memory for a graph, got: " + lastGgmlMessage());
  }
}

}  // namespace

Napi::Function Arena::define(Napi::Env env) {
  return withDispose(env, DefineClass(env, className,
                                      {
                                          method<&Arena::plan>("plan"),
                                          getter<&Arena::sizeBytes>("sizeBytes"),
                                          method<&Arena::close>("close"),
                                      }));
}

Arena::Arena(const Napi::CallbackInfo& info) : Object(info) {
  protect(info.Env(), [&] {
    const Arguments arguments(info, "Arena", 1);
    state_ = std::make_shared<ArenaState>();
    state_->backend = arguments.instance<Backend>(0, "backend").open(arguments.op());
  });
}

Napi::Value Arena::plan(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, op, 1);
  ArenaState& state = *open(op);
  if (state.region != nullptr) fail("BAD_ARGUMENT", op, "expected an Arena without a plan, got one that has been planned");
  const Napi::Array list = arguments.list(0, "graphs");
  std::vector<std::shared_ptr<GraphState>> graphs;
  for (uint32_t i = 0; i < list.Length(); i++) {
    Graph* graph = Graph::from(list[i]);
    if (graph == nullptr) arguments.reject("graphs", "an array of Graphs", list[i]);
    graphs.push_back(graph->open(op));
  }
  const auto owners = tensorsToPlace(graphs);
  const ggml_backend_buffer_type_t type = ggml_backend_get_default_buffer_type(state.backend->backend);
  auto memory = std::make_shared<Memory>();
  memory->backend = state.backend;
  try {
    guardGgml(op, [&] {
      requireRoom(state.backend->device, type, graphs);
      memory->allocator = ggml_gallocr_new(type);
      place(*memory, graphs);
    });
  } catch (const Failure&) {
    unplace(owners, graphs);
    throw;
  }
  std::unordered_set<ggml_backend_buffer_t> parts;
  state.region = std::make_shared<Region>(memory);
  for (const auto& [tensor, graph] : owners) {
    graph->context().attach(tensor, state.region);
    if (parts.insert(tensor->buffer).second) memory->parts.push_back(tensor->buffer);
  }
  accountFor(memory->sizeBytes());
  return info.Env().Undefined();
}

Napi::Value Arena::sizeBytes(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Region>& region = open("sizeBytes")->region;
  return Napi::Number::New(info.Env(), region == nullptr ? 0.0 : static_cast<double>(region->memory("sizeBytes")->sizeBytes()));
}

Napi::Value Arena::close(const Napi::CallbackInfo& info) {
  if (state_ != nullptr && state_->region != nullptr) state_->region->close();
  state_.reset();
  accountFor(0);
  return info.Env().Undefined();
}

}  // namespace zayascope
