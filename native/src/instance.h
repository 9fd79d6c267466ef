#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "failure.h"

namespace zayascope {

struct Memory;

// What one JavaScript environment (the main thread or a worker) keeps: the error class and the constructors.
struct Instance {
  Napi::FunctionReference errorClass;
  Napi::FunctionReference bufferClass;
  // Memory that has been lent out as ArrayBuffers, so that work off the thread can hold on to it.
  std::vector<std::weak_ptr<Memory>> lent;

  static Instance& of(Napi::Env env);
  // The memory that holds this address, if it is ours.
  std::shared_ptr<Memory> lenderOf(const void* address);
};

// A ZayascopeError; a plain Error with a code before setErrorClass() was called.
Napi::Error toError(Napi::Env env, const Failure& failure);

// Runs a callback's body and turns C++ failures into JavaScript errors.
template <class Function>
auto protect(Napi::Env env, Function&& function) -> decltype(function()) {
  try {
    return function();
  } catch (const Failure& failure) {
    throw toError(env, failure);
  } catch (const Napi::Error&) {
    throw;  // from a call back into JavaScript
  } catch (const std::exception& error) {
    throw toError(env, Failure{"BACKEND", "native", std::string("native: ") + error.what()});
  }
}

// A free function as a Node-API callback.
template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
Napi::Value protectedFunction(const Napi::CallbackInfo& info) {
  return protect(info.Env(), [&] { return Function(info); });
}

}  // namespace zayascope
