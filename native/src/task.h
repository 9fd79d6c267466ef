#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "arguments.h"
#include "failure.h"

namespace zayascope {

// Work off the JavaScript thread that settles a promise. `run` must not touch Node-API; `result` makes the
// value on the JavaScript thread. Both, and all that they hold, are destroyed on the JavaScript thread.
class Task : public Napi::AsyncWorker {
 public:
  using Run = std::function<void()>;
  using Result = std::function<Napi::Value(Napi::Env)>;
  // Told on the JavaScript thread, after the promise is settled, whether the environment still runs
  // JavaScript.
  using Done = std::function<void(bool alive)>;

  // Owned by itself once queued (Queue()); until then by the caller.
  Task(Napi::Env env, const char* op, Run run, Result result);

  // Starts work whose value exists beforehand (an array that `run` fills, or undefined). Keeps it and `kept`
  // from being collected meanwhile.
  static Napi::Promise start(const Arguments& arguments, Run run, const std::vector<Napi::Object>& kept, const Napi::Value& value);

  Napi::Promise promise() const { return deferred_.Promise(); }
  void onDone(Done done) { done_ = std::move(done); }

 protected:
  void Execute() override;
  void OnWorkComplete(Napi::Env env, napi_status status) override;

 private:
  void settle(Napi::Env env);

  const char* op_;
  Run run_;
  Result result_;
  Done done_;
  Napi::Promise::Deferred deferred_;
  std::vector<Napi::ObjectReference> kept_;
  std::optional<Failure> failure_;
};

}  // namespace zayascope
