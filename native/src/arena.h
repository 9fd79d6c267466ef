#pragma once

#include "arguments.h"
#include "object.h"
#include "region.h"

namespace zayascope {

// What an Arena holds: its backend, and the region once planned.
struct ArenaState {
  std::shared_ptr<BackendState> backend;
  std::shared_ptr<Region> region;
};

class Arena : public Object<Arena, ArenaState> {
 public:
  static constexpr const char* className = "Arena";
  static constexpr napi_type_tag tag{0x7a6179616172656e, 1};

  static Napi::Function define(Napi::Env env);
  explicit Arena(const Napi::CallbackInfo& info);

 private:
  Napi::Value plan(const Napi::CallbackInfo& info);
  Napi::Value sizeBytes(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
};

}  // namespace zayascope
