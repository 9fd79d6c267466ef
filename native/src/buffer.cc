#include "buffer.h"

#include "backend.h"
#include "context.h"
#include "extra-buffers.h"
#include "ggml-guard.h"
#include "mapping.h"

namespace zayascope {
namespace {

bool isUnallocatedLeaf(const ggml_tensor* tensor) {
  return tensor->op == GGML_OP_NONE && tensor->view_src == nullptr && tensor->data == nullptr;
}

size_t paddedSize(ggml_backend_buffer_type_t type, const ggml_tensor* tensor) {
  const size_t alignment = ggml_backend_buft_get_alignment(type);
  return (ggml_backend_buft_get_alloc_size(type, tensor) + alignment - 1) / alignment * alignment;
}

// One part of the device's memory, filled with tensors from `first` on for as long as they fit the device's
// largest allocation.
size_t allocatePart(const char* op, Memory& memory, ggml_backend_buffer_type_t type, const std::vector<ggml_tensor*>& leaves,
                    size_t first) {
  const size_t limit = ggml_backend_buft_get_max_size(type);
  size_t size = 0;
  size_t end = first;
  while (end < leaves.size()) {
    const size_t next = paddedSize(type, leaves[end]);
    if (size > 0 && next > limit - size) break;
    size += next;
    end++;
  }
  const ggml_backend_buffer_t part = ggml_backend_buft_alloc_buffer(type, size);
  if (part == nullptr)
    fail("BACKEND", op,
         "expected " + std::to_string(size) + " bytes of " + ggml_backend_buft_name(type) + " memory, got: " + lastGgmlMessage());
  memory.parts.push_back(part);
  ggml_tallocr allocator = ggml_tallocr_new(part);
  for (size_t i = first; i < end; i++)
    if (ggml_tallocr_alloc(&allocator, leaves[i]) != GGML_STATUS_SUCCESS)
      fail("BACKEND", op, "expected room for " + std::string(leaves[i]->name) + ", got none");
  return end;
}

}  // namespace

Napi::Function Buffer::define(Napi::Env env) {
  const Napi::Function constructor = withDispose(env, DefineClass(env, className,
                                                                  {
                                                                      StaticMethod<&protectedFunction<&Buffer::allocate>>("allocate"),
                                                                      StaticMethod<&protectedFunction<&Buffer::fromMapping>>("fromMapping"),
                                                                      StaticMethod<&protectedFunction<&Buffer::attach>>("attach"),
                                                                      getter<&Buffer::sizeBytes>("sizeBytes"),
                                                                      method<&Buffer::close>("close"),
                                                                  }));
  Instance::of(env).bufferClass = Napi::Persistent(constructor);
  return constructor;
}

Buffer::Buffer(const Napi::CallbackInfo& info) : Object(info) {
  protect(info.Env(), [&] {
    const Arguments arguments(info, "Buffer", 2);
    if (!info[0].IsExternal()) fail("BAD_ARGUMENT", "Buffer", "expected a call of Buffer.allocate or Buffer.fromMapping");
    state_ = *info[0].As<Napi::External<std::shared_ptr<Region>>>().Data();
    accountFor(arguments.size(1, "accounted"));
  });
}

Napi::Object Buffer::make(Napi::Env env, std::shared_ptr<Region> region, size_t accounted) {
  return Instance::of(env).bufferClass.New(
      {Napi::External<std::shared_ptr<Region>>::New(env, &region), Napi::Number::New(env, static_cast<double>(accounted))});
}

Napi::Value Buffer::allocate(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "allocate", 2, 3);
  const std::shared_ptr<BackendState>& backend = arguments.instance<Backend>(0, "backend").open(arguments.op());
  ContextState& context = *arguments.instance<Context>(1, "context").open(arguments.op());
  auto memory = std::make_shared<Memory>();
  memory->backend = backend;
  std::vector<ggml_tensor*> leaves;
  for (ggml_tensor* tensor = ggml_get_first_tensor(context.ggml()); tensor != nullptr;
       tensor = ggml_get_next_tensor(context.ggml(), tensor))
    if (isUnallocatedLeaf(tensor) && (tensor->flags & GGML_TENSOR_FLAG_INPUT) == 0) leaves.push_back(tensor);
  ggml_backend_buffer_type_t type = ggml_backend_get_default_buffer_type(backend->backend);
  if (arguments.has(2)) {
    type = extraBufferType(arguments.op(), backend->device, arguments.text(2, "bufferType"));
    memory->rearranged = true;
    for (const ggml_tensor* leaf : leaves) requireExtraBuffer(arguments.op(), backend->device, type, leaf);
  }
  try {
    guardGgml(arguments.op(), [&] {
      for (size_t next = 0; next < leaves.size();) next = allocatePart(arguments.op(), *memory, type, leaves, next);
    });
  } catch (const Failure&) {
    for (ggml_tensor* leaf : leaves) {
      leaf->data = nullptr;
      leaf->buffer = nullptr;
    }
    throw;
  }
  const auto region = std::make_shared<Region>(memory);
  for (const ggml_tensor* leaf : leaves) context.attach(leaf, region);
  return make(info.Env(), region, memory->sizeBytes());
}

Napi::Value Buffer::fromMapping(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "fromMapping", 2);
  const std::shared_ptr<BackendState>& backend = arguments.instance<Backend>(0, "backend").open(arguments.op());
  const std::shared_ptr<MappingState>& mapping = arguments.instance<Mapping>(1, "mapping").open(arguments.op());
  ggml_backend_dev_props props{};
  ggml_backend_dev_get_props(backend->device, &props);
  if (!props.caps.buffer_from_host_ptr)
    fail("BACKEND", arguments.op(),
         "expected a device that computes on host memory, got " + std::string(ggml_backend_dev_name(backend->device)));
  auto memory = std::make_shared<Memory>();
  memory->backend = backend;
  memory->mapping = mapping;
  guardGgml(arguments.op(), [&] {
    const ggml_backend_buffer_t part =
        ggml_backend_dev_buffer_from_host_ptr(backend->device, mapping->data(), mapping->sizeBytes(), mapping->sizeBytes());
    if (part == nullptr) fail("BACKEND", arguments.op(), "expected the device to wrap the file, got: " + lastGgmlMessage());
    memory->parts.push_back(part);
  });
  return make(info.Env(), std::make_shared<Region>(memory), 0);
}

Napi::Value Buffer::attach(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "attach", 4);
  const std::shared_ptr<Region>& region = arguments.instance<Buffer>(0, "buffer").open(arguments.op());
  ContextState& context = *arguments.instance<Context>(1, "context").open(arguments.op());
  ggml_tensor* tensor = context.at(arguments.op(), arguments.integer(2, "tensor", 0, maxSafeInteger));
  const size_t offset = arguments.size(3, "offsetBytes");
  if (!isUnallocatedLeaf(tensor)) fail("BAD_ARGUMENT", arguments.op(), "expected a leaf without data, got " + std::string(tensor->name));
  const Memory& memory = *region->memory(arguments.op());
  if (memory.parts.size() != 1)
    fail("BACKEND", arguments.op(), "expected a buffer in one part, got " + std::to_string(memory.parts.size()));
  const ggml_backend_buffer_t part = memory.parts[0];
  const size_t size = ggml_backend_buffer_get_size(part);
  const size_t needed = ggml_backend_buffer_get_alloc_size(part, tensor);
  if (offset > size || needed > size - offset)
    fail("BAD_ARGUMENT", arguments.op(),
         "expected " + std::to_string(needed) + " bytes inside a buffer of " + std::to_string(size) + ", got offset " +
             std::to_string(offset) + " (" + tensor->name + ")");
  // Host code reads at any element boundary; other devices need their own alignment.
  const bool plain = ggml_blck_size(tensor->type) == 1;
  const size_t alignment =
      ggml_backend_buffer_is_host(part) ? (plain ? ggml_type_size(tensor->type) : 2) : ggml_backend_buffer_get_alignment(part);
  if (offset % alignment != 0)
    fail("BAD_ARGUMENT", arguments.op(),
         "expected an offset that is a multiple of " + std::to_string(alignment) + ", got " + std::to_string(offset) + " (" + tensor->name +
             ")");
  guardGgml(arguments.op(), [&] {
    char* base = static_cast<char*>(ggml_backend_buffer_get_base(part));
    if (ggml_backend_tensor_alloc(part, tensor, base + offset) != GGML_STATUS_SUCCESS)
      fail("BACKEND", arguments.op(), "ggml could not attach " + std::string(tensor->name));
  });
  context.attach(tensor, region);
  return info.Env().Undefined();
}

Napi::Value Buffer::sizeBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(open("sizeBytes")->memory("sizeBytes")->sizeBytes()));
}

Napi::Value Buffer::close(const Napi::CallbackInfo& info) {
  if (state_ != nullptr) state_->close();
  state_.reset();
  accountFor(0);
  return info.Env().Undefined();
}

}  // namespace zayascope
