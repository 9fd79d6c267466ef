#pragma once

#include <string>

#include "arguments.h"
#include "object.h"

namespace zayascope {

// A file in memory. Pages are private and writable, so that a stray write through a view changes a copy of
// the page instead of ending the process; the file never changes. Truncating the file while it is mapped
// makes the operating system end the process on the next access.
class MappingState {
 public:
  explicit MappingState(const std::string& path);
  ~MappingState();
  MappingState(const MappingState&) = delete;
  MappingState& operator=(const MappingState&) = delete;

  void* data() const { return data_; }
  size_t sizeBytes() const { return size_; }
  // Copies from the file itself, so that a truncated file is an error and not a crash.
  void read(size_t offset, Bytes bytes) const;

 private:
  std::string path_;
  int file_ = -1;
  void* data_ = nullptr;
  size_t size_ = 0;
};

class Mapping : public Object<Mapping, MappingState> {
 public:
  static constexpr const char* className = "Mapping";
  static constexpr napi_type_tag tag{0x7a6179616d617070, 1};

  static Napi::Function define(Napi::Env env);
  explicit Mapping(const Napi::CallbackInfo& info);

 private:
  Napi::Value sizeBytes(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
};

}  // namespace zayascope
