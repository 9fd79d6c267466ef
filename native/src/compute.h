#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <vector>

namespace zayascope {

struct BackendState;
struct Memory;
class GraphState;

// One call of compute(): its graphs, and a hold on all memory that they touch.
struct Computation {
  std::vector<std::shared_ptr<GraphState>> graphs;
  std::vector<std::shared_ptr<Memory>> memory;
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
  double elapsedMs = 0;
  size_t nodes = 0;

  // Throws BACKEND if the graph cannot run on this backend as it is, CLOSED if some of its memory was closed.
  void add(const std::shared_ptr<GraphState>& graph, const BackendState& backend);
};

// Queues the computation behind the others of its backend. The promise gives { elapsedMs, nodes }.
Napi::Promise enqueue(Napi::Env env, const std::shared_ptr<BackendState>& backend, const std::shared_ptr<Computation>& computation);

}  // namespace zayascope
