#pragma once

#include "arguments.h"
#include "object.h"
#include "region.h"

namespace zayascope {

class Buffer : public Object<Buffer, Region> {
 public:
  static constexpr const char* className = "Buffer";
  static constexpr napi_type_tag tag{0x7a61796162756666, 1};

  static Napi::Function define(Napi::Env env);
  // From C++ only; see make().
  explicit Buffer(const Napi::CallbackInfo& info);
  ~Buffer() override = default;

 private:
  static Napi::Value allocate(const Napi::CallbackInfo& info);
  static Napi::Value fromMapping(const Napi::CallbackInfo& info);
  static Napi::Value attach(const Napi::CallbackInfo& info);
  static Napi::Object make(Napi::Env env, std::shared_ptr<Region> region, size_t accounted);

  Napi::Value sizeBytes(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
};

}  // namespace zayascope
