#include <cerrno>
#include <cstdio>
#include <cstring>

#include "arguments.h"
#include "ggml-guard.h"
#include "gguf.h"

namespace zayascope {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

GgufPointer readHeader(const char* op, const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) fail("IO", op, "expected a readable file, got: " + std::string(std::strerror(errno)) + " (" + path + ")");
  std::string reason;
  try {
    GgufPointer header(guardGgml(op, [&] { return gguf_init_from_file_ptr(file.get(), {true, nullptr}); }));
    if (header != nullptr) return header;
    reason = lastGgmlMessage();
  } catch (const Failure& failure) {
    reason = failure.message;
  } catch (const std::exception& error) {
    reason = error.what();  // sizes that do not fit in memory
  }
  fail("BAD_CHECKPOINT", op, "expected a GGUF file, got: " + reason + " (" + path + ")");
}

template <class T>
T load(const void* data, size_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * sizeof(T), sizeof(T));
  return value;
}

Napi::Value scalar(Napi::Env env, gguf_type type, const void* data, size_t index) {
  switch (type) {
    case GGUF_TYPE_UINT8: return Napi::Number::New(env, load<uint8_t>(data, index));
    case GGUF_TYPE_INT8: return Napi::Number::New(env, load<int8_t>(data, index));
    case GGUF_TYPE_UINT16: return Napi::Number::New(env, load<uint16_t>(data, index));
    case GGUF_TYPE_INT16: return Napi::Number::New(env, load<int16_t>(data, index));
    case GGUF_TYPE_UINT32: return Napi::Number::New(env, load<uint32_t>(data, index));
    case GGUF_TYPE_INT32: return Napi::Number::New(env, load<int32_t>(data, index));
    case GGUF_TYPE_FLOAT32: return Napi::Number::New(env, load<float>(data, index));
    case GGUF_TYPE_FLOAT64: return Napi::Number::New(env, load<double>(data, index));
    case GGUF_TYPE_BOOL: return Napi::Boolean::New(env, load<int8_t>(data, index) != 0);
    case GGUF_TYPE_UINT64: {
      const auto value = load<uint64_t>(data, index);
      if (value <= static_cast<uint64_t>(maxSafeInteger)) return Napi::Number::New(env, static_cast<double>(value));
      return Napi::BigInt::New(env, value);
    }
    case GGUF_TYPE_INT64: {
      const auto value = load<int64_t>(data, index);
      const auto limit = static_cast<int64_t>(maxSafeInteger);
      if (value <= limit && value >= -limit) return Napi::Number::New(env, static_cast<double>(value));
      return Napi::BigInt::New(env, value);
    }
    default: fail("BAD_CHECKPOINT", "ggufRead", "expected a known GGUF type, got " + std::to_string(type));
  }
}

Napi::Value arrayValue(Napi::Env env, const gguf_context* header, int64_t key) {
  const gguf_type type = gguf_get_arr_type(header, key);
  const size_t count = gguf_get_arr_n(header, key);
  Napi::Array result = Napi::Array::New(env, count);
  for (size_t i = 0; i < count; i++) {
    const Napi::HandleScope scope(env);  // vocabularies have hundreds of thousands of entries
    if (type == GGUF_TYPE_STRING)
      result.Set(static_cast<uint32_t>(i), Napi::String::New(env, gguf_get_arr_str(header, key, i)));
    else
      result.Set(static_cast<uint32_t>(i), scalar(env, type, gguf_get_arr_data(header, key), i));
  }
  return result;
}

Napi::Object metadataEntry(Napi::Env env, const gguf_context* header, int64_t key) {
  Napi::Object entry = Napi::Object::New(env);
  const gguf_type type = gguf_get_kv_type(header, key);
  entry.Set("type", gguf_type_name(type));
  if (type == GGUF_TYPE_ARRAY) {
    entry.Set("itemType", gguf_type_name(gguf_get_arr_type(header, key)));
    entry.Set("value", arrayValue(env, header, key));
  } else if (type == GGUF_TYPE_STRING) {
    entry.Set("value", Napi::String::New(env, gguf_get_val_str(header, key)));
  } else {
    entry.Set("value", scalar(env, type, gguf_get_val_data(header, key), 0));
  }
  return entry;
}

Napi::Object tensorEntry(Napi::Env env, const gguf_context* header, int64_t index) {
  Napi::Object entry = Napi::Object::New(env);
  Napi::Array ne = Napi::Array::New(env, GGML_MAX_DIMS);
  for (uint32_t i = 0; i < GGML_MAX_DIMS; i++) ne.Set(i, static_cast<double>(gguf_get_tensor_ne(header, index)[i]));
  entry.Set("name", gguf_get_tensor_name(header, index));
  entry.Set("type", static_cast<double>(gguf_get_tensor_type(header, index)));
  entry.Set("ne", ne);
  entry.Set("offsetBytes", static_cast<double>(gguf_get_tensor_offset(header, index)));
  entry.Set("sizeBytes", static_cast<double>(gguf_get_tensor_size(header, index)));
  return entry;
}

}  // namespace

Napi::Value ggufRead(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "ggufRead", 1);
  const Napi::Env env = info.Env();
  const GgufPointer header = readHeader(arguments.op(), arguments.text(0, "path"));
  Napi::Object metadata = Napi::Object::New(env);
  for (int64_t key = 0; key < gguf_get_n_kv(header.get()); key++)
    // Defined, not set: a key of the file named __proto__ must not change the object.
    metadata.DefineProperty(
        Napi::PropertyDescriptor::Value(gguf_get_key(header.get(), key), metadataEntry(env, header.get(), key), napi_default_jsproperty));
  Napi::Array tensors = Napi::Array::New(env);
  for (int64_t i = 0; i < gguf_get_n_tensors(header.get()); i++) tensors.Set(static_cast<uint32_t>(i), tensorEntry(env, header.get(), i));
  Napi::Object result = Napi::Object::New(env);
  result.Set("version", static_cast<double>(gguf_get_version(header.get())));
  result.Set("alignment", static_cast<double>(gguf_get_alignment(header.get())));
  result.Set("dataOffsetBytes", static_cast<double>(gguf_get_data_offset(header.get())));
  result.Set("metadata", metadata);
  result.Set("tensors", tensors);
  return result;
}

}  // namespace zayascope
