#pragma once

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <napi.h>

#include <map>
#include <memory>
#include <vector>

namespace zayascope {

struct BackendState;
struct MappingState;

// Memory of a device. Freed when the last user lets go: an open Region, a computation in flight, or an
// ArrayBuffer lent to JavaScript. May be freed on any thread.
struct Memory {
  std::shared_ptr<BackendState> backend;  // outlives its memory
  std::shared_ptr<MappingState> mapping;  // set if the parts lie in a mapped file
  std::vector<ggml_backend_buffer_t> parts;
  ggml_gallocr_t allocator = nullptr;  // set if the parts belong to an arena
  bool rearranged = false;             // of an extra buffer type: tensors are written whole, in ggml's layout, and cannot be read back

  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  size_t sizeBytes() const;
  bool contains(const void* address) const;
};

// What a Buffer or an Arena lends to tensors. Contexts keep Regions; closing one releases its Memory and each
// later use of its tensors throws CLOSED. Used on the JavaScript thread only.
class Region {
 public:
  explicit Region(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {}

  // The memory, to hold while something uses it. Throws CLOSED after close().
  const std::shared_ptr<Memory>& memory(const char* op) const;
  // The one ArrayBuffer over this part (V8 does not support two over the same memory).
  Napi::ArrayBuffer arrayBuffer(Napi::Env env, const char* op, ggml_backend_buffer_t part);
  void close();

 private:
  std::shared_ptr<Memory> memory_;
  std::map<ggml_backend_buffer_t, Napi::Reference<Napi::ArrayBuffer>> lent_;
};

}  // namespace zayascope
