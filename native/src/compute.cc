#include "compute.h"

#include <chrono>

#include "backend.h"
#include "failure.h"
#include "ggml-guard.h"
#include "graph.h"
#include "task.h"

namespace zayascope {
namespace {

constexpr const char* op = "compute";

bool isCancelled(void* flag) { return static_cast<std::atomic<bool>*>(flag)->load(std::memory_order_relaxed); }

void runGraph(BackendState& state, Computation& computation, ggml_cgraph* graph) {
  if (isCancelled(computation.cancelled.get())) fail("CANCELLED", op, "cancelled by the caller");
  const ggml_status status = ggml_backend_graph_compute(state.backend, graph);
  if (status == GGML_STATUS_SUCCESS) return;
  if (status == GGML_STATUS_ABORTED) fail("CANCELLED", op, "cancelled by the caller");
  fail("BACKEND", op, "expected the graph to run, got " + std::string(ggml_status_to_string(status)) + ": " + lastGgmlMessage());
}

void run(BackendState& state, Computation& computation) {
  state.prepareThreads();
  if (state.setAbortCallback != nullptr) state.setAbortCallback(state.backend, isCancelled, computation.cancelled.get());
  const auto start = std::chrono::steady_clock::now();
  for (const std::shared_ptr<GraphState>& graph : computation.graphs) {
    runGraph(state, computation, graph->ggml());
    computation.nodes += graph->computeNodes();
  }
  computation.elapsedMs = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void startNext(const std::shared_ptr<BackendState>& state) {
  if (state->running != nullptr || state->waiting.empty()) return;
  BackendState::Waiting next = std::move(state->waiting.front());
  state->waiting.pop_front();
  state->running = next.cancelled;
  next.task->onDone([state](bool alive) {
    state->running = nullptr;
    if (alive)
      startNext(state);
    else
      state->waiting.clear();
  });
  next.task.release()->Queue();  // deletes itself when done
}

}  // namespace

void Computation::add(const std::shared_ptr<GraphState>& graph, const BackendState& backend) {
  graph->hold(op, backend, memory);
  graphs.push_back(graph);
}

Napi::Promise enqueue(Napi::Env env, const std::shared_ptr<BackendState>& state, const std::shared_ptr<Computation>& computation) {
  const auto result = [computation](Napi::Env resultEnv) -> Napi::Value {
    Napi::Object object = Napi::Object::New(resultEnv);
    object.Set("elapsedMs", computation->elapsedMs);
    object.Set("nodes", static_cast<double>(computation->nodes));
    return object;
  };
  auto task = std::make_unique<Task>(env, op, [state, computation] { run(*state, *computation); }, result);
  const Napi::Promise promise = task->promise();
  state->waiting.push_back({std::move(task), computation->cancelled});
  startNext(state);
  return promise;
}

}  // namespace zayascope
