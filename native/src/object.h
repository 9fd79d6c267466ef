#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "failure.h"
#include "instance.h"

namespace zayascope {

// Base of the addon's classes. T provides `className` and `tag`; State is the C++ side, shared with whatever
// still needs it. close() lets go of this object's share.
template <class T, class State>
class Object : public Napi::ObjectWrap<T> {
 public:
  using Method = Napi::Value (T::*)(const Napi::CallbackInfo&);
  using Descriptor = Napi::ClassPropertyDescriptor<T>;

  explicit Object(const Napi::CallbackInfo& info) : Napi::ObjectWrap<T>(info) { info.This().As<Napi::Object>().TypeTag(&T::tag); }

  ~Object() override { accountFor(0); }

  // The object behind a JavaScript value, or null if it is something else.
  static T* from(const Napi::Value& value) {
    if (value.Type() != napi_object || !value.As<Napi::Object>().CheckTypeTag(&T::tag)) return nullptr;
    return Napi::ObjectWrap<T>::Unwrap(value.As<Napi::Object>());
  }

  // The state, while this object is open.
  const std::shared_ptr<State>& open(const char* op) const {
    if (state_ == nullptr) fail("CLOSED", op, std::string("expected an open ") + T::className + ", got a closed one");
    return state_;
  }

 protected:
  template <Method M>
  static Descriptor method(const char* name) {
    return Napi::ObjectWrap<T>::InstanceMethod(name, static_cast<Method>(&Object::template call<M>), napi_default_method);
  }

  template <Method M>
  static Descriptor getter(const char* name) {
    return Napi::ObjectWrap<T>::InstanceAccessor(name, static_cast<Method>(&Object::template call<M>), nullptr, napi_default_jsproperty);
  }

  // Defines close() and, where this Node has it, [Symbol.dispose]() as the same function.
  static Napi::Function withDispose(Napi::Env env, Napi::Function constructor) {
    const Napi::Value dispose = env.Global().Get("Symbol").As<Napi::Object>().Get("dispose");
    Napi::Object prototype = constructor.Get("prototype").As<Napi::Object>();
    if (dispose.IsSymbol()) prototype.Set(dispose, prototype.Get("close"));
    return constructor;
  }

  // Tells V8 how much memory hangs on this object, so that it collects in time.
  void accountFor(size_t bytes) {
    const int64_t change = static_cast<int64_t>(bytes) - static_cast<int64_t>(accounted_);
    if (change != 0) Napi::MemoryManagement::AdjustExternalMemory(this->Env(), change);
    accounted_ = bytes;
  }

  std::shared_ptr<State> state_;

 private:
  template <Method M>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return protect(info.Env(), [&] { return (static_cast<T*>(this)->*M)(info); });
  }

  size_t accounted_ = 0;
};

}  // namespace zayascope
