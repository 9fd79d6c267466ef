#include "backend.h"

#include "compute.h"
#include "context.h"
#include "devices.h"
#include "extra-buffers.h"
#include "ggml-guard.h"
#include "graph.h"

namespace zayascope {

BackendState::BackendState(const std::string& name) {
  device = findDevice("Backend", name);
  backend = ggml_backend_dev_init(device, nullptr);
  if (backend == nullptr) fail("BACKEND", "Backend", "expected the device " + name + " to start, got: " + lastGgmlMessage());
  // Mesa's Vulkan device on the CPU lets go of a buffer that was bound to a shader only when another one is
  // bound in its place, and crashes if it has been freed by then (seen with Mesa 22.3: each of 20 processes
  // that ran 12 graphs of their own).
  keepsMemory = std::string(ggml_backend_dev_description(device)).rfind("llvmpipe", 0) == 0;
  const ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(device);
  const auto find = [&](const char* function) { return ggml_backend_reg_get_proc_address(registry, function); };
  setThreads = reinterpret_cast<ggml_backend_set_n_threads_t>(find("ggml_backend_set_n_threads"));
  setAbortCallback = reinterpret_cast<ggml_backend_set_abort_callback_t>(find("ggml_backend_set_abort_callback"));
  newPool_ = reinterpret_cast<NewPool>(find("ggml_threadpool_new"));
  freePool_ = reinterpret_cast<FreePool>(find("ggml_threadpool_free"));
  setPool_ = reinterpret_cast<SetPool>(find("ggml_backend_cpu_set_threadpool"));
}

BackendState::~BackendState() {
  ggml_backend_free(backend);
  if (pool_ != nullptr) freePool_(pool_);
}

void BackendState::prepareThreads() {
  const int count = threads;
  if (setThreads == nullptr || poolThreads_ == count) return;
  setThreads(backend, count);
  poolThreads_ = count;
  if (newPool_ == nullptr || freePool_ == nullptr || setPool_ == nullptr) return;
  // One pool for all graphs: without it ggml starts and ends its threads in each. No polling between graphs,
  // so that an idle backend costs nothing.
  ggml_threadpool_params params = ggml_threadpool_params_default(count);
  params.poll = 0;
  const ggml_threadpool_t fresh = newPool_(&params);
  if (fresh == nullptr) fail("BACKEND", "compute", "expected " + std::to_string(count) + " threads, got: " + lastGgmlMessage());
  setPool_(backend, fresh);
  if (pool_ != nullptr) freePool_(pool_);
  pool_ = fresh;
}

Napi::Function Backend::define(Napi::Env env) {
  return withDispose(env, DefineClass(env, className,
                                      {
                                          getter<&Backend::device>("device"),
                                          method<&Backend::setThreads>("setThreads"),
                                          method<&Backend::supportsOp>("supportsOp"),
                                          method<&Backend::extraBufferType>("extraBufferType"),
                                          method<&Backend::compute>("compute"),
                                          method<&Backend::cancel>("cancel"),
                                          method<&Backend::close>("close"),
                                      }));
}

Backend::Backend(const Napi::CallbackInfo& info) : Object(info) {
  protect(info.Env(), [&] {
    const Arguments arguments(info, "Backend", 1);
    state_ = std::make_shared<BackendState>(arguments.text(0, "device"));
  });
}

Napi::Value Backend::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), ggml_backend_dev_name(open("device")->device));
}

Napi::Value Backend::setThreads(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "setThreads", 1);
  BackendState& state = *open(arguments.op());
  const int64_t count = arguments.integer(0, "count", 1, GGML_MAX_N_THREADS);
  if (state.setThreads == nullptr)
    fail("BACKEND", arguments.op(), "expected a device with a thread count, got " + std::string(ggml_backend_dev_name(state.device)));
  state.threads = static_cast<int>(count);  // the next computation applies it
  return info.Env().Undefined();
}

Napi::Value Backend::supportsOp(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "supportsOp", 2);
  const BackendState& state = *open(arguments.op());
  const ContextState& context = *arguments.instance<Context>(0, "context").open(arguments.op());
  const ggml_tensor* tensor = context.at(arguments.op(), arguments.integer(1, "tensor", 0, maxSafeInteger));
  for (const ggml_tensor* source : tensor->src)
    if (source != nullptr)
      if (const std::shared_ptr<Region> region = context.findRegion(source)) region->memory(arguments.op());
  const bool supported = guardGgml(arguments.op(), [&] { return ggml_backend_supports_op(state.backend, tensor); });
  return Napi::Boolean::New(info.Env(), supported);
}

Napi::Value Backend::extraBufferType(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "extraBufferType", 2);
  const BackendState& state = *open(arguments.op());
  const ContextState& context = *arguments.instance<Context>(0, "context").open(arguments.op());
  return zayascope::extraBufferType(info, state.device, context.at(arguments.op(), arguments.integer(1, "tensor", 0, maxSafeInteger)));
}

Napi::Value Backend::compute(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "compute", 1);
  const std::shared_ptr<BackendState>& state = open(arguments.op());
  const Napi::Array list = arguments.list(0, "graphs");
  auto computation = std::make_shared<Computation>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    Graph* graph = Graph::from(list[i]);
    if (graph == nullptr) arguments.reject("graphs", "an array of Graphs", list[i]);
    computation->add(graph->open(arguments.op()), *state);
  }
  return enqueue(info.Env(), state, computation);
}

Napi::Value Backend::cancel(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "cancel", 0);
  const BackendState& state = *open(arguments.op());
  if (state.running != nullptr) state.running->store(true);
  for (const BackendState::Waiting& waiting : state.waiting) waiting.cancelled->store(true);
  return info.Env().Undefined();
}

Napi::Value Backend::close(const Napi::CallbackInfo& info) {
  state_.reset();
  return info.Env().Undefined();
}

}  // namespace zayascope
