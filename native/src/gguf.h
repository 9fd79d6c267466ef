#pragma once

#include <gguf.h>
#include <napi.h>

#include <memory>

namespace zayascope {

struct GgufFree {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
using GgufPointer = std::unique_ptr<gguf_context, GgufFree>;

Napi::Value ggufHeader(const Napi::CallbackInfo& info);  // gguf-header.cc

}  // namespace zayascope
