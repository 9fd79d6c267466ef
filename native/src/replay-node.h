#pragma once

#include <napi.h>

namespace zayascope {

// replayNode(backend, roots, tensors, node): runs one node of a recorded graph on its own.
Napi::Value replayNode(const Napi::CallbackInfo& info);

}  // namespace zayascope
