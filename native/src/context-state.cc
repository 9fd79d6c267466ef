#include "context-state.h"

#include <algorithm>

#include "failure.h"
#include "ggml-guard.h"

namespace zayascope {

ContextState::ContextState(size_t maxTensors) : maxTensors_(maxTensors) {
  context_ = ggml_init({maxTensors * ggml_tensor_overhead(), nullptr, true});
  if (context_ == nullptr) fail("BACKEND", "Context", "expected memory for " + std::to_string(maxTensors) + " tensors, got none");
}

ContextState::~ContextState() { ggml_free(context_); }

ggml_tensor* ContextState::at(const char* op, int64_t handle) const {
  if (handle < 0 || static_cast<size_t>(handle) >= tensors_.size())
    fail("BAD_ARGUMENT", op,
         "expected a tensor of this context, 0 to " + std::to_string(tensors_.size()) + " exclusive, got " + std::to_string(handle));
  return tensors_[static_cast<size_t>(handle)];
}

void ContextState::requireRoom(const char* op) const {
  if (broken_) fail("BACKEND", op, "expected a usable context, got one in which ggml rejected an op; build a new one");
  if (own_ >= maxTensors_) fail("BACKEND", op, "expected room for another tensor, got a context that holds " + std::to_string(maxTensors_));
}

size_t ContextState::add(ggml_tensor* tensor, const std::string& name) {
  ggml_set_name(tensor, name.c_str());  // cut to 63 bytes: for messages only
  tensors_.push_back(tensor);
  own_++;
  return tensors_.size() - 1;
}

size_t ContextState::adopt(const char* op, const std::shared_ptr<ContextState>& other, int64_t handle) {
  ggml_tensor* tensor = other->at(op, handle);
  if (tensor->op != GGML_OP_NONE) fail("BAD_ARGUMENT", op, "expected a leaf, got the node " + std::string(tensor->name));
  if (other.get() == this) return static_cast<size_t>(handle);
  if (other->reaches(this)) fail("BAD_ARGUMENT", op, "expected a context that does not itself adopt from this one");
  if (std::find(adopted_.begin(), adopted_.end(), other) == adopted_.end()) adopted_.push_back(other);
  tensors_.push_back(tensor);
  return tensors_.size() - 1;
}

bool ContextState::reaches(const ContextState* other) const {
  return std::any_of(adopted_.begin(), adopted_.end(), [&](const auto& state) { return state.get() == other || state->reaches(other); });
}

std::shared_ptr<Region> ContextState::findRegion(const ggml_tensor* tensor) const {
  const ggml_tensor* root = tensor->view_src != nullptr ? tensor->view_src : tensor;
  const auto found = regions_.find(root);
  if (found != regions_.end()) return found->second;
  for (const auto& state : adopted_)
    if (std::shared_ptr<Region> region = state->findRegion(root)) return region;
  return nullptr;
}

std::shared_ptr<Region> ContextState::requireRegion(const char* op, ggml_tensor* tensor) const {
  std::shared_ptr<Region> region = findRegion(tensor);
  if (region == nullptr)
    fail("BACKEND", op,
         "expected a tensor with memory, got " + std::string(tensor->name) + " without; allocate it or plan its graph first");
  region->memory(op);
  if (tensor->view_src != nullptr && tensor->buffer == nullptr) guardGgml(op, [&] { return ggml_backend_view_init(tensor); });
  return region;
}

}  // namespace zayascope
