#pragma once

#include <ggml-backend.h>
#include <napi.h>

#include <string>

namespace zayascope {

// Extra buffer types of a device: memory whose tensors ggml rearranges when they are written (repacking), for
// matmuls alone.

// backend.extraBufferType(context, tensor): the first extra buffer type from which the device multiplies with
// this tensor, or undefined.
Napi::Value extraBufferType(const Napi::CallbackInfo& info, ggml_backend_dev_t device, const ggml_tensor* tensor);

// The extra buffer type of this name. Throws BAD_ARGUMENT if the device has none.
ggml_backend_buffer_type_t extraBufferType(const char* op, ggml_backend_dev_t device, const std::string& name);

// Throws BACKEND unless the device multiplies with the leaf from this buffer type: ggml would abort when it
// is written.
void requireExtraBuffer(const char* op, ggml_backend_dev_t device, ggml_backend_buffer_type_t type, const ggml_tensor* leaf);

}  // namespace zayascope
