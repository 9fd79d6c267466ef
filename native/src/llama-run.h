#pragma once

#include <napi.h>

#include <memory>

#include "object.h"

namespace zayascope {

struct LlamaState;

// A model that libllama runs, with every tensor of its graphs told to JavaScript.
class Llama : public Object<Llama, LlamaState> {
 public:
  static constexpr const char* className = "Llama";
  static constexpr napi_type_tag tag{0x7a6179616c6c616d, 1};

  static Napi::Function define(Napi::Env env);
  explicit Llama(const Napi::CallbackInfo& info);

 private:
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value decode(const Napi::CallbackInfo& info);
  Napi::Value graft(const Napi::CallbackInfo& info);
  Napi::Value grafted(const Napi::CallbackInfo& info);
  Napi::Value release(const Napi::CallbackInfo& info);
  Napi::Value free(const Napi::CallbackInfo& info);
  Napi::Value want(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value sent(const Napi::CallbackInfo& info);
  Napi::Value vocabulary(const Napi::CallbackInfo& info);
  Napi::Value description(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
};

}  // namespace zayascope
