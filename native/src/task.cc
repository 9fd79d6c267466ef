#include "task.h"

#include "ggml-guard.h"
#include "instance.h"

namespace zayascope {

Task::Task(Napi::Env env, const char* op, Run run, Result result)
    : Napi::AsyncWorker(env, op), op_(op), run_(std::move(run)), result_(std::move(result)), deferred_(Napi::Promise::Deferred::New(env)) {}

Napi::Promise Task::start(const Arguments& arguments, Run run, const std::vector<Napi::Object>& kept, const Napi::Value& value) {
  auto holder =
      std::make_shared<Napi::ObjectReference>(value.IsObject() ? Napi::Persistent(value.As<Napi::Object>()) : Napi::ObjectReference());
  const auto result = [holder](Napi::Env env) -> Napi::Value { return holder->IsEmpty() ? env.Undefined() : Napi::Value(holder->Value()); };
  auto task = std::make_unique<Task>(arguments.env(), arguments.op(), std::move(run), result);
  for (const Napi::Object& object : kept) task->kept_.push_back(Napi::Persistent(object));
  const Napi::Promise promise = task->promise();
  task.release()->Queue();  // deletes itself when done
  return promise;
}

void Task::Execute() {
  clearGgmlMessage();
  try {
    run_();
  } catch (const Failure& failure) {
    failure_ = failure;
  } catch (const std::bad_alloc&) {
    failure_ = Failure{"BACKEND", op_, std::string(op_) + ": out of memory"};
  } catch (const std::exception& error) {
    failure_ = Failure{"BACKEND", op_, std::string(op_) + ": " + error.what()};
  }
}

void Task::OnWorkComplete(Napi::Env env, napi_status status) {
  bool alive = status == napi_ok;
  if (alive) {
    const Napi::HandleScope scope(env);
    try {
      settle(env);
    } catch (const Napi::Error&) {
      alive = false;  // a worker that is being terminated runs no more JavaScript
    }
  }
  if (done_) done_(alive);
  Destroy();
}

void Task::settle(Napi::Env env) {
  if (failure_.has_value()) return deferred_.Reject(toError(env, *failure_).Value());
  try {
    deferred_.Resolve(result_(env));
  } catch (const Failure& failure) {
    deferred_.Reject(toError(env, failure).Value());
  }
}

}  // namespace zayascope
