#include "arguments.h"

#include <cmath>

namespace zayascope {
namespace {

std::string describe(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return value.As<Napi::Boolean>().Value() ? "true" : "false";
    case napi_number: return value.ToString().Utf8Value();
    case napi_string: return "the string \"" + value.As<Napi::String>().Utf8Value() + "\"";
    case napi_symbol: return "a symbol";
    case napi_function: return "a function";
    case napi_bigint: return "a bigint";
    case napi_external: return "an external";
    case napi_object: break;
  }
  if (value.IsArray()) return "an array of " + std::to_string(value.As<Napi::Array>().Length());
  if (value.IsTypedArray()) return "another typed array";
  return "an object";
}

std::string plain(double value) { return std::fabs(value) < maxSafeInteger ? std::to_string(static_cast<int64_t>(value)) : "2^53 - 1"; }

}  // namespace

Arguments::Arguments(const Napi::CallbackInfo& info, const char* op, size_t least, size_t most) : info_(info), op_(op) {
  if (info.Length() >= least && info.Length() <= most) return;
  const std::string expected = least == most ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(most);
  fail("BAD_ARGUMENT", op, "expected " + expected + " arguments, got " + std::to_string(info.Length()));
}

void Arguments::reject(const char* name, const std::string& expected, const Napi::Value& got) const {
  fail("BAD_ARGUMENT", op_, std::string("expected ") + name + " to be " + expected + ", got " + describe(got));
}

int64_t Arguments::checkInteger(const Napi::Value& value, const char* name, double least, double most) const {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= least && number <= most) || number != std::floor(number))
    reject(name, "an integer from " + plain(least) + " to " + plain(most), value);
  return static_cast<int64_t>(number);
}

int64_t Arguments::integer(size_t index, const char* name, double least, double most) const {
  return checkInteger(info_[index], name, least, most);
}

std::string Arguments::text(size_t index, const char* name) const {
  if (!info_[index].IsString()) reject(name, "a string", info_[index]);
  return info_[index].As<Napi::String>().Utf8Value();
}

Napi::Array Arguments::list(size_t index, const char* name) const {
  if (!info_[index].IsArray()) reject(name, "an array", info_[index]);
  return info_[index].As<Napi::Array>();
}

Napi::Object Arguments::object(size_t index, const char* name) const {
  if (info_[index].Type() != napi_object) reject(name, "an object", info_[index]);
  return info_[index].As<Napi::Object>();
}

std::vector<double> Arguments::numbers(size_t index, const char* name) const {
  const Napi::Array array = list(index, name);
  std::vector<double> result(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value value = array[i];
    if (!value.IsNumber()) reject(name, "an array of numbers", value);
    result[i] = value.As<Napi::Number>().DoubleValue();
  }
  return result;
}

std::vector<int64_t> Arguments::integers(size_t index, const char* name, double least, double most) const {
  const Napi::Array array = list(index, name);
  std::vector<int64_t> result(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) result[i] = checkInteger(array[i], name, least, most);
  return result;
}

ggml_type Arguments::checkType(const Napi::Value& value) const {
  const auto type = static_cast<ggml_type>(checkInteger(value, "type", 0, GGML_TYPE_COUNT - 1));
  if (ggml_blck_size(type) == 0) fail("BAD_ARGUMENT", op_, "expected a type that ggml still has, got " + std::to_string(type));
  return type;
}

std::vector<int64_t> Arguments::checkSizes(const Napi::Value& value, const char* name, double least) const {
  if (!value.IsArray() || value.As<Napi::Array>().Length() != GGML_MAX_DIMS)
    reject(name, std::to_string(GGML_MAX_DIMS) + " numbers", value);
  std::vector<int64_t> sizes;
  for (uint32_t k = 0; k < GGML_MAX_DIMS; k++) sizes.push_back(checkInteger(value.As<Napi::Array>().Get(k), name, least, maxSafeInteger));
  return sizes;
}

Napi::TypedArray Arguments::typedArray(size_t index, const char* name, napi_typedarray_type type, const char* typeName) const {
  const Napi::Value value = info_[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) reject(name, std::string("a ") + typeName, value);
  return value.As<Napi::TypedArray>();
}

Bytes Arguments::bytes(size_t index, const char* name) const {
  Napi::Uint8Array array = typedArray(index, name, napi_uint8_array, "Uint8Array").As<Napi::Uint8Array>();
  return Bytes{array.Data(), array.ByteLength()};
}

}  // namespace zayascope
