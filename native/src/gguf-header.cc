#include <ggml.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "arguments.h"
#include "ggml-guard.h"
#include "gguf.h"

namespace zayascope {
namespace {

constexpr const char* op = "ggufHeader";

[[noreturn]] void reject(const std::string& key, const std::string& expected) {
  fail("BAD_ARGUMENT", op, "expected " + expected + " (metadata key " + key + ")");
}

gguf_type typeNamed(const std::string& key, const Napi::Value& name) {
  if (name.IsString())
    for (int type = 0; type < GGUF_TYPE_COUNT; type++)
      if (name.As<Napi::String>().Utf8Value() == gguf_type_name(static_cast<gguf_type>(type))) return static_cast<gguf_type>(type);
  reject(key, "a GGUF type name such as u32, str or arr");
}

template <class T>
void append(std::vector<uint8_t>& out, T value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

template <class T>
void appendInteger(std::vector<uint8_t>& out, const std::string& key, const Napi::Value& value) {
  if constexpr (sizeof(T) == 8) {
    if (value.IsBigInt()) {
      bool lossless = false;
      const T wide = std::is_signed_v<T> ? static_cast<T>(value.As<Napi::BigInt>().Int64Value(&lossless))
                                         : static_cast<T>(value.As<Napi::BigInt>().Uint64Value(&lossless));
      if (!lossless) reject(key, "an integer that fits 64 bits");
      return append(out, wide);
    }
  }
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  const double least = std::max(static_cast<double>(std::numeric_limits<T>::min()), -maxSafeInteger);
  const double most = std::min(static_cast<double>(std::numeric_limits<T>::max()), maxSafeInteger);
  if (!(number >= least && number <= most) || number != std::floor(number)) reject(key, "an integer that fits its type");
  append(out, static_cast<T>(number));
}

void appendScalar(std::vector<uint8_t>& out, const std::string& key, gguf_type type, const Napi::Value& value) {
  switch (type) {
    case GGUF_TYPE_UINT8: return appendInteger<uint8_t>(out, key, value);
    case GGUF_TYPE_INT8: return appendInteger<int8_t>(out, key, value);
    case GGUF_TYPE_UINT16: return appendInteger<uint16_t>(out, key, value);
    case GGUF_TYPE_INT16: return appendInteger<int16_t>(out, key, value);
    case GGUF_TYPE_UINT32: return appendInteger<uint32_t>(out, key, value);
    case GGUF_TYPE_INT32: return appendInteger<int32_t>(out, key, value);
    case GGUF_TYPE_UINT64: return appendInteger<uint64_t>(out, key, value);
    case GGUF_TYPE_INT64: return appendInteger<int64_t>(out, key, value);
    case GGUF_TYPE_FLOAT32:
    case GGUF_TYPE_FLOAT64:
      if (!value.IsNumber()) reject(key, "a number");
      return type == GGUF_TYPE_FLOAT32 ? append(out, value.As<Napi::Number>().FloatValue())
                                       : append(out, value.As<Napi::Number>().DoubleValue());
    case GGUF_TYPE_BOOL:
      if (!value.IsBoolean()) reject(key, "a boolean");
      return append(out, static_cast<int8_t>(value.As<Napi::Boolean>().Value()));
    default: reject(key, "a scalar type, for arrays of arrays do not exist");
  }
}

std::string textOf(const std::string& key, const Napi::Value& value) {
  if (!value.IsString()) reject(key, "a string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) reject(key, "a string without NUL characters, at which ggml would cut it");
  return text;
}

template <class T>
T loaded(const std::vector<uint8_t>& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

void setScalar(gguf_context* header, const char* key, gguf_type type, const std::vector<uint8_t>& bytes) {
  switch (type) {
    case GGUF_TYPE_UINT8: return gguf_set_val_u8(header, key, loaded<uint8_t>(bytes));
    case GGUF_TYPE_INT8: return gguf_set_val_i8(header, key, loaded<int8_t>(bytes));
    case GGUF_TYPE_UINT16: return gguf_set_val_u16(header, key, loaded<uint16_t>(bytes));
    case GGUF_TYPE_INT16: return gguf_set_val_i16(header, key, loaded<int16_t>(bytes));
    case GGUF_TYPE_UINT32: return gguf_set_val_u32(header, key, loaded<uint32_t>(bytes));
    case GGUF_TYPE_INT32: return gguf_set_val_i32(header, key, loaded<int32_t>(bytes));
    case GGUF_TYPE_UINT64: return gguf_set_val_u64(header, key, loaded<uint64_t>(bytes));
    case GGUF_TYPE_INT64: return gguf_set_val_i64(header, key, loaded<int64_t>(bytes));
    case GGUF_TYPE_FLOAT32: return gguf_set_val_f32(header, key, loaded<float>(bytes));
    case GGUF_TYPE_FLOAT64: return gguf_set_val_f64(header, key, loaded<double>(bytes));
    default: return gguf_set_val_bool(header, key, loaded<int8_t>(bytes) != 0);
  }
}

void setArray(gguf_context* header, const std::string& key, gguf_type type, const Napi::Array& items) {
  if (type == GGUF_TYPE_STRING) {
    std::vector<std::string> texts;
    std::vector<const char*> pointers;
    for (uint32_t i = 0; i < items.Length(); i++) texts.push_back(textOf(key, items[i]));
    for (const std::string& text : texts) pointers.push_back(text.c_str());
    return gguf_set_arr_str(header, key.c_str(), pointers.data(), pointers.size());
  }
  std::vector<uint8_t> bytes;
  for (uint32_t i = 0; i < items.Length(); i++) appendScalar(bytes, key, type, items[i]);
  gguf_set_arr_data(header, key.c_str(), type, bytes.data(), items.Length());
}

void setEntry(gguf_context* header, const std::string& key, const Napi::Value& value) {
  if (key.empty()) fail("BAD_ARGUMENT", op, "expected metadata keys that are not empty");
  if (value.Type() != napi_object) reject(key, "an object { type, value }");
  const Napi::Object entry = value.As<Napi::Object>();
  const gguf_type type = typeNamed(key, entry.Get("type"));
  const Napi::Value content = entry.Get("value");
  if (key == GGUF_KEY_GENERAL_ALIGNMENT) {
    const double alignment = content.IsNumber() ? content.As<Napi::Number>().DoubleValue() : 0;
    const auto bits = static_cast<uint32_t>(alignment >= 1 && alignment <= 0x40000000 ? alignment : 0);
    if (type != GGUF_TYPE_UINT32 || bits == 0 || bits != alignment || (bits & (bits - 1)) != 0) reject(key, "a power of two of type u32");
  }
  if (type == GGUF_TYPE_ARRAY) {
    if (!content.IsArray()) reject(key, "an array");
    const gguf_type itemType = typeNamed(key, entry.Get("itemType"));
    if (itemType == GGUF_TYPE_ARRAY) reject(key, "a scalar type, for arrays of arrays do not exist");
    return setArray(header, key, itemType, content.As<Napi::Array>());
  }
  if (type == GGUF_TYPE_STRING) return gguf_set_val_str(header, key.c_str(), textOf(key, content).c_str());
  std::vector<uint8_t> bytes;
  appendScalar(bytes, key, type, content);
  setScalar(header, key.c_str(), type, bytes);
}

std::vector<uint8_t> bytesOf(const gguf_context* header) {
  std::vector<uint8_t> bytes(gguf_get_meta_size(header));
  gguf_get_meta_data(header, bytes.data());
  return bytes;
}

void addTensor(gguf_context* header, const Napi::Value& value, uint32_t index) {
  const std::string where = " (tensor " + std::to_string(index) + ")";
  if (value.Type() != napi_object) fail("BAD_ARGUMENT", op, "expected an object { name, type, ne }" + where);
  const Napi::Object entry = value.As<Napi::Object>();
  const Napi::Value name = entry.Get("name"), type = entry.Get("type"), sizes = entry.Get("ne");
  const std::string text = name.IsString() ? name.As<Napi::String>().Utf8Value() : "";
  if (text.empty() || text.size() >= GGML_MAX_NAME || text.find('\0') != std::string::npos)
    fail("BAD_ARGUMENT", op, "expected a name of 1 to 63 bytes" + where);
  if (gguf_find_tensor(header, text.c_str()) >= 0) fail("BAD_ARGUMENT", op, "expected names to differ, got " + text + " twice");
  const double number = type.IsNumber() ? type.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number < GGML_TYPE_COUNT) || number != std::floor(number) || ggml_blck_size(static_cast<ggml_type>(number)) == 0)
    fail("BAD_ARGUMENT", op, "expected a ggml type" + where);
  if (!sizes.IsArray() || sizes.As<Napi::Array>().Length() < 1 || sizes.As<Napi::Array>().Length() > GGML_MAX_DIMS)
    fail("BAD_ARGUMENT", op, "expected 1 to 4 sizes" + where);
  int64_t ne[GGML_MAX_DIMS] = {1, 1, 1, 1};
  double elements = 1;
  for (uint32_t i = 0; i < sizes.As<Napi::Array>().Length(); i++) {
    const Napi::Value size = sizes.As<Napi::Array>()[i];
    const double length = size.IsNumber() ? size.As<Napi::Number>().DoubleValue() : 0;
    elements *= length;
    if (!(length >= 1 && elements <= maxSafeInteger / 8) || length != std::floor(length))
      fail("BAD_ARGUMENT", op, "expected sizes of at least 1" + where);
    ne[i] = static_cast<int64_t>(length);
  }
  if (ne[0] % ggml_blck_size(static_cast<ggml_type>(number)) != 0) fail("BAD_ARGUMENT", op, "expected rows of whole blocks" + where);
  const std::unique_ptr<ggml_context, decltype(&ggml_free)> holder(ggml_init({ggml_tensor_overhead(), nullptr, true}), ggml_free);
  ggml_tensor* tensor = ggml_new_tensor(holder.get(), static_cast<ggml_type>(number), GGML_MAX_DIMS, ne);
  ggml_set_name(tensor, text.c_str());
  gguf_add_tensor(header, tensor);
}

}  // namespace

Napi::Value ggufHeader(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, op, 2);
  const Napi::Object metadata = arguments.object(0, "metadata");
  const Napi::Array tensors = arguments.list(1, "tensors");
  const std::vector<uint8_t> bytes = guardGgml(op, [&] {
    GgufPointer header(gguf_init_empty());
    const Napi::Array keys = metadata.GetPropertyNames();
    for (uint32_t i = 0; i < keys.Length(); i++) {
      const Napi::Value key = keys[i];
      setEntry(header.get(), key.As<Napi::String>().Utf8Value(), metadata.Get(key));
    }
    // ggml takes the alignment from the metadata only when it reads a header, so the tensors are added to one
    // that has been read.
    const std::vector<uint8_t> written = bytesOf(header.get());
    header.reset(gguf_init_from_buffer(written.data(), written.size(), {true, nullptr}));
    if (header == nullptr) fail("BACKEND", op, "ggml could not read its own header: " + lastGgmlMessage());
    for (uint32_t i = 0; i < tensors.Length(); i++) addTensor(header.get(), tensors[i], i);
    return bytesOf(header.get());
  });
  Napi::Uint8Array result = Napi::Uint8Array::New(info.Env(), bytes.size());
  std::memcpy(result.Data(), bytes.data(), bytes.size());
  return result;
}

}  // namespace zayascope
