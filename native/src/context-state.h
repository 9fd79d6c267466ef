#pragma once

#include <ggml.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "region.h"

namespace zayascope {

// A ggml context with its table of handles. Tensors of other contexts may be in the table (adopt); their
// contexts are kept alive.
class ContextState {
 public:
  explicit ContextState(size_t maxTensors);
  ~ContextState();
  ContextState(const ContextState&) = delete;
  ContextState& operator=(const ContextState&) = delete;

  ggml_context* ggml() const { return context_; }
  const std::vector<ggml_tensor*>& tensors() const { return tensors_; }
  ggml_tensor* at(const char* op, int64_t handle) const;
  // Throws BACKEND if there is no room for another tensor, or an earlier assertion left the context unusable.
  void requireRoom(const char* op) const;
  size_t add(ggml_tensor* tensor, const std::string& name);
  size_t adopt(const char* op, const std::shared_ptr<ContextState>& other, int64_t handle);
  void markBroken() { broken_ = true; }

  void attach(const ggml_tensor* root, const std::shared_ptr<Region>& region) { regions_[root] = region; }
  // The region that the tensor's data lies in, or null if it has none yet.
  std::shared_ptr<Region> findRegion(const ggml_tensor* tensor) const;
  // The memory behind a tensor that must have some. Initialises views that no graph has allocated yet. Throws
  // BACKEND without data and CLOSED after its buffer closed.
  std::shared_ptr<Region> requireRegion(const char* op, ggml_tensor* tensor) const;

 private:
  bool reaches(const ContextState* other) const;

  ggml_context* context_ = nullptr;
  size_t maxTensors_;
  size_t own_ = 0;
  bool broken_ = false;
  std::vector<ggml_tensor*> tensors_;
  std::unordered_map<const ggml_tensor*, std::shared_ptr<Region>> regions_;  // by tensors that are no views
  std::vector<std::shared_ptr<ContextState>> adopted_;
};

}  // namespace zayascope
