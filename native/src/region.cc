#include "region.h"

#include "backend.h"
#include "failure.h"
#include "instance.h"

namespace zayascope {

Memory::~Memory() {
  if (backend != nullptr && backend->keepsMemory) return;  // until the process ends
  if (allocator != nullptr)
    ggml_gallocr_free(allocator);  // frees the parts too
  else
    for (const ggml_backend_buffer_t part : parts) ggml_backend_buffer_free(part);
}

size_t Memory::sizeBytes() const {
  size_t size = 0;
  for (const ggml_backend_buffer_t part : parts) size += ggml_backend_buffer_get_size(part);
  return size;
}

bool Memory::contains(const void* address) const {
  for (const ggml_backend_buffer_t part : parts) {
    const char* base = static_cast<const char*>(ggml_backend_buffer_get_base(part));
    const char* at = static_cast<const char*>(address);
    if (base != nullptr && at >= base && at < base + ggml_backend_buffer_get_size(part)) return true;
  }
  return false;
}

const std::shared_ptr<Memory>& Region::memory(const char* op) const {
  if (memory_ == nullptr) fail("CLOSED", op, "expected the memory of the tensor to be open, got a closed Buffer or Arena");
  return memory_;
}

Napi::ArrayBuffer Region::arrayBuffer(Napi::Env env, const char* op, ggml_backend_buffer_t part) {
  const auto found = lent_.find(part);
  if (found != lent_.end()) return found->second.Value();

  const size_t size = ggml_backend_buffer_get_size(part);
  auto* hold = new std::shared_ptr<Memory>(memory(op));
  const auto release = [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<Memory>*>(hint); };
  napi_value value = nullptr;
  const napi_status status = napi_create_external_arraybuffer(env, ggml_backend_buffer_get_base(part), size, release, hold, &value);
  if (status != napi_ok) {
    // On failure Node has already run the finalizer where it threw, and has not where it refused.
    std::string reason = "this Node does not allow external memory";
    if (env.IsExceptionPending())
      reason = env.GetAndClearPendingException().Message();
    else
      delete hold;
    fail("BACKEND", op,
         "expected memory that an ArrayBuffer can span, got a buffer of " + std::to_string(size) + " bytes (" + reason + ")");
  }
  const Napi::ArrayBuffer array(env, value);
  lent_.emplace(part, Napi::Persistent(array));
  Instance::of(env).lent.push_back(memory_);
  return array;
}

void Region::close() {
  for (auto& entry : lent_) {
    Napi::ArrayBuffer array = entry.second.Value();
    if (!array.IsEmpty() && !array.IsDetached()) array.Detach();
  }
  lent_.clear();
  memory_.reset();
}

}  // namespace zayascope
