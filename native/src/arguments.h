#pragma once

#include <ggml.h>
#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "failure.h"
#include "instance.h"

namespace zayascope {

struct Bytes {
  uint8_t* data;
  size_t size;
};

constexpr double maxSafeInteger = 9007199254740991.0;

// Checked access to a callback's arguments; each mismatch throws BAD_ARGUMENT with the parameter's name and
// what came.
class Arguments {
 public:
  Arguments(const Napi::CallbackInfo& info, const char* op, size_t least, size_t most);
  Arguments(const Napi::CallbackInfo& info, const char* op, size_t count) : Arguments(info, op, count, count) {}

  const char* op() const { return op_; }
  Napi::Env env() const { return info_.Env(); }
  bool has(size_t index) const { return index < info_.Length() && !info_[index].IsUndefined(); }

  int64_t integer(size_t index, const char* name, double least, double most) const;
  size_t size(size_t index, const char* name) const { return static_cast<size_t>(integer(index, name, 0, maxSafeInteger)); }
  std::string text(size_t index, const char* name) const;
  std::vector<double> numbers(size_t index, const char* name) const;
  std::vector<int64_t> integers(size_t index, const char* name, double least, double most) const;
  // Not one of the gaps that ggml keeps for types it has dropped.
  ggml_type type(size_t index) const { return checkType(info_[index]); }
  std::vector<int64_t> sizes(size_t index, const char* name, double least) const { return checkSizes(info_[index], name, least); }
  Napi::Array list(size_t index, const char* name) const;
  Napi::Object object(size_t index, const char* name) const;
  Napi::TypedArray typedArray(size_t index, const char* name, napi_typedarray_type type, const char* typeName) const;
  // The bytes stay valid during the callback only, unless the caller keeps the object alive.
  Bytes bytes(size_t index, const char* name) const;

  // The C++ object behind an instance of one of the addon's classes.
  template <class T>
  T& instance(size_t index, const char* name) const {
    T* found = T::from(info_[index]);
    if (found == nullptr) reject(name, std::string("a ") + T::className, info_[index]);
    return *found;
  }

  [[noreturn]] void reject(const char* name, const std::string& expected, const Napi::Value& got) const;
  // The same check as integer(), for a value inside an argument.
  int64_t checkInteger(const Napi::Value& value, const char* name, double least, double most) const;
  ggml_type checkType(const Napi::Value& value) const;
  // Sizes or strides of a tensor: GGML_MAX_DIMS integers of at least `least`.
  std::vector<int64_t> checkSizes(const Napi::Value& value, const char* name, double least) const;

 private:
  const Napi::CallbackInfo& info_;
  const char* op_;
};

}  // namespace zayascope
