#pragma once

#include <napi.h>

namespace zayascope {

Napi::Value quantize(const Napi::CallbackInfo& info);
Napi::Value dequantize(const Napi::CallbackInfo& info);

}  // namespace zayascope
