#pragma once

#include <ggml-backend.h>
#include <napi.h>

#include <string>

namespace zayascope {

// ggml's registry of backends is process-wide and has no lock of its own; all access goes through these
// functions.

Napi::Value version(const Napi::CallbackInfo& info);
Napi::Value loadBackends(const Napi::CallbackInfo& info);
Napi::Value loadBackend(const Napi::CallbackInfo& info);
Napi::Value devices(const Napi::CallbackInfo& info);
Napi::Value cpuFeatures(const Napi::CallbackInfo& info);

// Throws BAD_ARGUMENT, with the names that exist, for an unknown one.
ggml_backend_dev_t findDevice(const char* op, const std::string& name);

}  // namespace zayascope
