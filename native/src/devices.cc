#include "devices.h"

#include <mutex>
#include <set>

#include "arguments.h"
#include "ggml-guard.h"

namespace zayascope {
namespace {

std::mutex registryMutex;

const char* typeName(enum ggml_backend_dev_type type) {
  switch (type) {
    case GGML_BACKEND_DEVICE_TYPE_CPU: return "cpu";
    case GGML_BACKEND_DEVICE_TYPE_GPU: return "gpu";
    case GGML_BACKEND_DEVICE_TYPE_IGPU: return "igpu";
    case GGML_BACKEND_DEVICE_TYPE_ACCEL: return "accel";
    case GGML_BACKEND_DEVICE_TYPE_META: return "meta";
  }
  return "accel";
}

}  // namespace

Napi::Value version(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "version", 0);
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("ggml", ggml_version());
  result.Set("commit", ggml_commit());
  result.Set("headers", ZAYASCOPE_GGML_VERSION);
  return result;
}

Napi::Value loadBackends(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "loadBackends", 1);
  const std::string folder = arguments.text(0, "folder");
  const std::lock_guard<std::mutex> lock(registryMutex);
  static std::set<std::string> loaded;
  if (loaded.count(folder) == 0) {
    guardGgml(arguments.op(), [&] { ggml_backend_load_all_from_path(folder.c_str()); });
    if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr)
      fail("BACKEND", arguments.op(), "expected a CPU library that runs on this machine in " + folder + ", got none");
    loaded.insert(folder);
  }
  return info.Env().Undefined();
}

Napi::Value loadBackend(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "loadBackend", 1);
  const std::string file = arguments.text(0, "file");
  const std::lock_guard<std::mutex> lock(registryMutex);
  if (guardGgml(arguments.op(), [&] { return ggml_backend_load(file.c_str()); }) == nullptr)
    fail("BACKEND", arguments.op(), "expected a ggml backend library, got: " + lastGgmlMessage());
  return info.Env().Undefined();
}

Napi::Value devices(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "devices", 0);
  Napi::Array result = Napi::Array::New(info.Env());
  const std::lock_guard<std::mutex> lock(registryMutex);
  for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
    const ggml_backend_dev_t device = ggml_backend_dev_get(i);
    ggml_backend_dev_props props{};
    ggml_backend_dev_get_props(device, &props);
    Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("name", props.name);
    entry.Set("description", props.description);
    entry.Set("backend", ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)));
    entry.Set("type", typeName(props.type));
    entry.Set("memoryFreeBytes", static_cast<double>(props.memory_free));
    entry.Set("memoryTotalBytes", static_cast<double>(props.memory_total));
    entry.Set("bufferFromHostPointer", props.caps.buffer_from_host_ptr);
    result.Set(static_cast<uint32_t>(i), entry);
  }
  return result;
}

Napi::Value cpuFeatures(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "cpuFeatures", 0);
  Napi::Object result = Napi::Object::New(info.Env());
  const std::lock_guard<std::mutex> lock(registryMutex);
  const ggml_backend_reg_t registry = ggml_backend_reg_by_name("CPU");
  if (registry == nullptr) fail("BACKEND", arguments.op(), "expected a loaded CPU library, got none");
  const auto features =
      reinterpret_cast<ggml_backend_get_features_t>(ggml_backend_reg_get_proc_address(registry, "ggml_backend_get_features"));
  if (features == nullptr) return result;
  for (const ggml_backend_feature* feature = features(registry); feature->name != nullptr; feature++)
    result.Set(feature->name, feature->value);
  return result;
}

ggml_backend_dev_t findDevice(const char* op, const std::string& name) {
  const std::lock_guard<std::mutex> lock(registryMutex);
  if (const ggml_backend_dev_t device = ggml_backend_dev_by_name(name.c_str())) return device;
  std::string names;
  for (size_t i = 0; i < ggml_backend_dev_count(); i++)
    names += (i == 0 ? "" : ", ") + std::string(ggml_backend_dev_name(ggml_backend_dev_get(i)));
  fail("BAD_ARGUMENT", op, "expected the name of a device (" + names + "), got \"" + name + "\"");
}

}  // namespace zayascope
