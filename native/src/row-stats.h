#pragma once

#include <napi.h>

namespace zayascope {

Napi::Value rowStats(const Napi::CallbackInfo& info);

}  // namespace zayascope
