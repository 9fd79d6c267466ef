#pragma once

#include <napi.h>

namespace zayascope {

Napi::Value rowStats(const Napi::CallbackInfo& info);
Napi::Value rowStatsNow(const Napi::CallbackInfo& info);

}  // namespace zayascope
