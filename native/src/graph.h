#pragma once

#include <ggml.h>

#include <memory>
#include <vector>

#include "arguments.h"
#include "context-state.h"
#include "object.h"

namespace zayascope {

struct BackendState;

// False for leaves and for views, which only show memory in another way.
bool computes(const ggml_tensor* tensor);

// An ordered list of nodes of one context, in a ggml context of its own.
class GraphState {
 public:
  GraphState(std::shared_ptr<ContextState> context, const std::vector<ggml_tensor*>& outputs);
  ~GraphState();
  GraphState(const GraphState&) = delete;
  GraphState& operator=(const GraphState&) = delete;

  ggml_cgraph* ggml() const { return graph_; }
  ContextState& context() const { return *context_; }
  // All tensors that the graph reads or writes, leaves included, each once.
  const std::vector<ggml_tensor*>& tensors() const { return tensors_; }
  size_t computeNodes() const { return computeNodes_; }

  // Checks that everything has memory that this backend can use and that it has the ops, and adds a hold on
  // that memory.
  void hold(const char* op, const BackendState& backend, std::vector<std::shared_ptr<Memory>>& memory);

 private:
  std::shared_ptr<ContextState> context_;
  ggml_context* holder_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
  std::vector<ggml_tensor*> tensors_;
  size_t computeNodes_ = 0;
  std::vector<std::shared_ptr<Region>> regions_;  // of all tensors, once all have memory
  std::weak_ptr<const BackendState> checkedFor_;  // the backend that passed the check for ops
};

class Graph : public Object<Graph, GraphState> {
 public:
  static constexpr const char* className = "Graph";
  static constexpr napi_type_tag tag{0x7a61796167726166, 1};

  static Napi::Function define(Napi::Env env);
  explicit Graph(const Napi::CallbackInfo& info);

 private:
  Napi::Value computeNodes(const Napi::CallbackInfo& info);
  Napi::Value nodes(const Napi::CallbackInfo& info);
  Napi::Value keepValues(const Napi::CallbackInfo& info);
  Napi::Value tensors(const Napi::CallbackInfo& info);
  Napi::Value value(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
};

}  // namespace zayascope
