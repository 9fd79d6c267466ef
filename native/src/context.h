#pragma once

#include "arguments.h"
#include "context-state.h"
#include "object.h"

namespace zayascope {

class Context : public Object<Context, ContextState> {
 public:
  static constexpr const char* className = "Context";
  static constexpr napi_type_tag tag{0x7a617961636f6e74, 1};

  static Napi::Function define(Napi::Env env);
  explicit Context(const Napi::CallbackInfo& info);

 private:
  Napi::Value tensor(const Napi::CallbackInfo& info);
  Napi::Value op(const Napi::CallbackInfo& info);
  Napi::Value adopt(const Napi::CallbackInfo& info);
  Napi::Value setOutput(const Napi::CallbackInfo& info);
  Napi::Value setInput(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value readAll(const Napi::CallbackInfo& info);
  Napi::Value fill(const Napi::CallbackInfo& info);
  Napi::Value view(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  ggml_tensor* tensorAt(const Arguments& arguments, size_t index) const;
};

}  // namespace zayascope
