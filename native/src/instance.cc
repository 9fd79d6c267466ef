#include "instance.h"

#include "region.h"

namespace zayascope {

Instance& Instance::of(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

std::shared_ptr<Memory> Instance::lenderOf(const void* address) {
  for (size_t i = lent.size(); i-- > 0;) {
    const std::shared_ptr<Memory> memory = lent[i].lock();
    if (memory == nullptr)
      lent.erase(lent.begin() + static_cast<ptrdiff_t>(i));
    else if (memory->contains(address))
      return memory;
  }
  return nullptr;
}

Napi::Error toError(Napi::Env env, const Failure& failure) {
  const Napi::String message = Napi::String::New(env, failure.message);
  const Napi::FunctionReference& errorClass = Instance::of(env).errorClass;
  if (errorClass.IsEmpty()) {
    Napi::Error error = Napi::Error::New(env, failure.message);
    error.Set("code", Napi::String::New(env, failure.code));
    return error;
  }
  Napi::Object details = Napi::Object::New(env);
  details.Set("op", failure.op);
  return Napi::Error(env, errorClass.New({Napi::String::New(env, failure.code), message, details}));
}

}  // namespace zayascope
