#pragma once

#include <ggml-backend.h>

#include <atomic>
#include <deque>
#include <memory>

#include "arguments.h"
#include "object.h"
#include "task.h"

namespace zayascope {

// A ggml backend with its thread pool and the computations that wait for it. Computations run one at a time
// in the order of the calls; the queue is used on the JavaScript thread only.
struct BackendState : std::enable_shared_from_this<BackendState> {
  explicit BackendState(const std::string& device);
  ~BackendState();
  BackendState(const BackendState&) = delete;
  BackendState& operator=(const BackendState&) = delete;

  ggml_backend_dev_t device = nullptr;
  ggml_backend_t backend = nullptr;
  ggml_backend_set_n_threads_t setThreads = nullptr;             // null on devices without threads
  ggml_backend_set_abort_callback_t setAbortCallback = nullptr;  // null on devices that cannot stop inside a graph
  bool keepsMemory = false;                                      // its driver reads buffers after they have been freed
  std::atomic<int> threads{GGML_DEFAULT_N_THREADS};

  using Flag = std::shared_ptr<std::atomic<bool>>;
  struct Waiting {
    std::unique_ptr<Task> task;
    Flag cancelled;
  };
  std::deque<Waiting> waiting;
  Flag running;  // set it to cancel; null when idle

  // Gives the backend its threads. Called where no computation runs.
  void prepareThreads();

 private:
  using NewPool = ggml_threadpool_t (*)(ggml_threadpool_params*);
  using FreePool = void (*)(ggml_threadpool_t);
  using SetPool = void (*)(ggml_backend_t, ggml_threadpool_t);
  NewPool newPool_ = nullptr;
  FreePool freePool_ = nullptr;
  SetPool setPool_ = nullptr;
  ggml_threadpool_t pool_ = nullptr;
  int poolThreads_ = 0;
};

class Backend : public Object<Backend, BackendState> {
 public:
  static constexpr const char* className = "Backend";
  static constexpr napi_type_tag tag{0x7a6179616261636b, 1};

  static Napi::Function define(Napi::Env env);
  explicit Backend(const Napi::CallbackInfo& info);

 private:
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value setThreads(const Napi::CallbackInfo& info);
  Napi::Value supportsOp(const Napi::CallbackInfo& info);
  Napi::Value extraBufferType(const Napi::CallbackInfo& info);
  Napi::Value compute(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
};

}  // namespace zayascope
