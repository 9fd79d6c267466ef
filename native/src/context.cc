#include "context.h"

#include <ggml-backend.h>

#include "ggml-guard.h"
#include "ops.h"
#include "task.h"

namespace zayascope {
namespace {

constexpr double maxTensorsPerContext = 1 << 24;

std::string shapeText(const int64_t* ne) {
  std::string text = "[";
  for (int i = 0; i < GGML_MAX_DIMS; i++) text += (i == 0 ? "" : ", ") + std::to_string(ne[i]);
  return text + "]";
}

std::vector<int64_t> sizesArgument(const Arguments& arguments, size_t index) {
  const std::vector<int64_t> ne = arguments.sizes(index, "ne", 1);
  double elements = 1;
  for (const int64_t size : ne) elements *= static_cast<double>(size);
  if (elements > maxSafeInteger / 8)
    fail("BAD_ARGUMENT", arguments.op(), "expected fewer than 2^50 elements, got sizes " + shapeText(ne.data()));
  return ne;
}

void requireRange(const Arguments& arguments, const ggml_tensor* tensor, size_t size, size_t offset) {
  const size_t total = ggml_nbytes(tensor);
  if (offset > total || size > total - offset)
    fail("BAD_ARGUMENT", arguments.op(),
         "expected a range within the " + std::to_string(total) + " bytes of " + tensor->name + ", got " + std::to_string(size) +
             " bytes at " + std::to_string(offset));
}

void requireWritable(const char* op, const Memory& memory, const ggml_tensor* tensor) {
  if (memory.mapping != nullptr) fail("BACKEND", op, "expected writable memory, got " + std::string(tensor->name) + " in a mapped file");
}

void requirePlain(const char* op, const Region& region, const ggml_tensor* tensor) {
  if (region.memory(op)->rearranged)
    fail("BACKEND", op, "expected memory in the tensor's own layout, got " + std::string(tensor->name) + ", which the device has rearranged");
}

// A whole tensor and where it is to go. Holds its memory until it is there.
struct Copy {
  const ggml_tensor* tensor;
  uint8_t* target;
  std::shared_ptr<Memory> memory;
};

}  // namespace

Napi::Function Context::define(Napi::Env env) {
  return withDispose(env, DefineClass(env, className,
                                      {
                                          method<&Context::tensor>("tensor"),
                                          method<&Context::op>("op"),
                                          method<&Context::adopt>("adopt"),
                                          method<&Context::setOutput>("setOutput"),
                                          method<&Context::setInput>("setInput"),
                                          method<&Context::write>("write"),
                                          method<&Context::read>("read"),
                                          method<&Context::readAll>("readAll"),
                                          method<&Context::fill>("fill"),
                                          method<&Context::view>("view"),
                                          method<&Context::close>("close"),
                                      }));
}

Context::Context(const Napi::CallbackInfo& info) : Object(info) {
  protect(info.Env(), [&] {
    const Arguments arguments(info, "Context", 1);
    const auto maxTensors = static_cast<size_t>(arguments.integer(0, "maxTensors", 1, maxTensorsPerContext));
    state_ = std::make_shared<ContextState>(maxTensors);
    accountFor(maxTensors * ggml_tensor_overhead());
  });
}

ggml_tensor* Context::tensorAt(const Arguments& arguments, size_t index) const {
  const std::shared_ptr<ContextState>& state = open(arguments.op());
  return state->at(arguments.op(), arguments.integer(index, "tensor", 0, maxSafeInteger));
}

Napi::Value Context::tensor(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "tensor", 3);
  ContextState& state = *open(arguments.op());
  const ggml_type type = arguments.type(0);
  const std::vector<int64_t> ne = sizesArgument(arguments, 1);
  if (ne[0] % ggml_blck_size(type) != 0)
    fail("BAD_ARGUMENT", arguments.op(),
         "expected rows of whole " + std::string(ggml_type_name(type)) + " blocks, got sizes " + shapeText(ne.data()));
  const std::string name = arguments.text(2, "name");
  state.requireRoom(arguments.op());
  ggml_tensor* tensor = guardGgml(arguments.op(), [&] { return ggml_new_tensor(state.ggml(), type, GGML_MAX_DIMS, ne.data()); });
  return Napi::Number::New(info.Env(), static_cast<double>(state.add(tensor, name)));
}

Napi::Value Context::op(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "op", 6);
  ContextState& state = *open(arguments.op());
  OpCall call;
  call.context = state.ggml();
  const std::string opName = arguments.text(0, "op");
  for (const int64_t handle : arguments.integers(1, "sources", 0, maxSafeInteger)) call.sources.push_back(state.at(opName.c_str(), handle));
  call.params = arguments.numbers(2, "params");
  call.type = arguments.type(3);
  const std::vector<int64_t> ne = sizesArgument(arguments, 4);
  const std::string name = arguments.text(5, "name");
  state.requireRoom(opName.c_str());
  for (ggml_tensor* source : call.sources)
    if (const std::shared_ptr<Region> region = state.findRegion(source)) region->memory(opName.c_str());

  const OpSpec& spec = findOp(opName);
  checkOp(spec, call);
  ggml_tensor* tensor = nullptr;
  try {
    tensor = guardGgml(spec.name, [&] { return spec.build(call); });
  } catch (const Failure&) {
    state.markBroken();
    throw;
  }
  if (tensor->view_src != nullptr && tensor->view_offs + ggml_nbytes(tensor) > ggml_nbytes(tensor->view_src)) {
    state.markBroken();
    fail("BAD_ARGUMENT", spec.name, "expected a view inside " + std::string(tensor->view_src->name) + ", got one that ends beyond it");
  }
  if (tensor->type != call.type || !std::equal(ne.begin(), ne.end(), tensor->ne))
    fail("SHAPE_MISMATCH", spec.name,
         std::string("expected ") + ggml_type_name(call.type) + " " + shapeText(ne.data()) + ", got " + ggml_type_name(tensor->type) + " " +
             shapeText(tensor->ne) + " from ggml, fastest axis first (" + name + ")");
  return Napi::Number::New(info.Env(), static_cast<double>(state.add(tensor, name)));
}

Napi::Value Context::adopt(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "adopt", 2);
  const std::shared_ptr<ContextState>& state = open(arguments.op());
  const std::shared_ptr<ContextState>& other = arguments.instance<Context>(0, "other").open(arguments.op());
  const size_t handle = state->adopt(arguments.op(), other, arguments.integer(1, "tensor", 0, maxSafeInteger));
  return Napi::Number::New(info.Env(), static_cast<double>(handle));
}

Napi::Value Context::setOutput(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "setOutput", 1);
  ggml_tensor* tensor = tensorAt(arguments, 0);
  ggml_set_output(tensor);
  if (tensor->view_src != nullptr) ggml_set_output(tensor->view_src);
  return info.Env().Undefined();
}

Napi::Value Context::setInput(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "setInput", 1);
  ggml_tensor* tensor = tensorAt(arguments, 0);
  if (tensor->op != GGML_OP_NONE) fail("BAD_ARGUMENT", arguments.op(), "expected a leaf, got the node " + std::string(tensor->name));
  ggml_set_input(tensor);
  return info.Env().Undefined();
}

Napi::Value Context::write(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "write", 3);
  ggml_tensor* tensor = tensorAt(arguments, 0);
  const Bytes bytes = arguments.bytes(1, "bytes");
  const size_t offset = arguments.size(2, "offsetBytes");
  const std::shared_ptr<Region> region = state_->requireRegion(arguments.op(), tensor);
  requireWritable(arguments.op(), *region->memory(arguments.op()), tensor);
  requireRange(arguments, tensor, bytes.size, offset);
  if (region->memory(arguments.op())->rearranged && bytes.size != ggml_nbytes(tensor))
    fail("BAD_ARGUMENT", arguments.op(),
         "expected all " + std::to_string(ggml_nbytes(tensor)) + " bytes of a tensor that the device rearranges, got " +
             std::to_string(bytes.size) + " (" + tensor->name + ")");
  if (bytes.size > 0) guardGgml(arguments.op(), [&] { ggml_backend_tensor_set(tensor, bytes.data, offset, bytes.size); });
  return info.Env().Undefined();
}

Napi::Value Context::read(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "read", 3);
  ggml_tensor* tensor = tensorAt(arguments, 0);
  const Bytes bytes = arguments.bytes(1, "bytes");
  const size_t offset = arguments.size(2, "offsetBytes");
  requirePlain(arguments.op(), *state_->requireRegion(arguments.op(), tensor), tensor);
  requireRange(arguments, tensor, bytes.size, offset);
  if (bytes.size > 0) guardGgml(arguments.op(), [&] { ggml_backend_tensor_get(tensor, bytes.data, offset, bytes.size); });
  return info.Env().Undefined();
}

Napi::Value Context::readAll(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "readAll", 2);
  const std::shared_ptr<ContextState>& state = open(arguments.op());
  const std::vector<int64_t> handles = arguments.integers(0, "tensors", 0, maxSafeInteger);
  const Napi::Array targets = arguments.list(1, "bytes");
  if (targets.Length() != handles.size())
    fail("BAD_ARGUMENT", arguments.op(),
         "expected one Uint8Array a tensor, got " + std::to_string(targets.Length()) + " for " + std::to_string(handles.size()));
  std::vector<Copy> copies;
  for (uint32_t i = 0; i < targets.Length(); i++) {
    ggml_tensor* tensor = state->at(arguments.op(), handles[i]);
    const std::shared_ptr<Region> region = state->requireRegion(arguments.op(), tensor);
    requirePlain(arguments.op(), *region, tensor);
    const Napi::Value target = targets.Get(i);
    if (!target.IsTypedArray() || target.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
      arguments.reject("bytes", "Uint8Arrays", target);
    const Napi::Uint8Array bytes = target.As<Napi::Uint8Array>();
    if (bytes.ByteLength() != ggml_nbytes(tensor))
      fail("BAD_ARGUMENT", arguments.op(),
           "expected all " + std::to_string(ggml_nbytes(tensor)) + " bytes of " + tensor->name + ", got " +
               std::to_string(bytes.ByteLength()));
    copies.push_back({tensor, Napi::Uint8Array(bytes).Data(), region->memory(arguments.op())});
  }
  const char* op = arguments.op();
  // `state` holds the tensors, `targets` the arrays.
  const auto run = [state, copies = std::move(copies), op] {
    guardGgml(op, [&] {
      for (const Copy& copy : copies) ggml_backend_tensor_get(copy.tensor, copy.target, 0, ggml_nbytes(copy.tensor));
    });
  };
  return Task::start(arguments, run, {targets}, info.Env().Undefined());
}

Napi::Value Context::fill(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "fill", 2);
  ggml_tensor* tensor = tensorAt(arguments, 0);
  const auto byte = static_cast<uint8_t>(arguments.integer(1, "byte", 0, 255));
  const std::shared_ptr<Region> region = state_->requireRegion(arguments.op(), tensor);
  requireWritable(arguments.op(), *region->memory(arguments.op()), tensor);
  requirePlain(arguments.op(), *region, tensor);
  if (!ggml_is_contiguously_allocated(tensor))
    fail("BAD_ARGUMENT", arguments.op(), "expected a tensor without gaps, got the strided " + std::string(tensor->name));
  guardGgml(arguments.op(), [&] { ggml_backend_tensor_memset(tensor, byte, 0, ggml_nbytes(tensor)); });
  return info.Env().Undefined();
}

Napi::Value Context::view(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "view", 1);
  ggml_tensor* tensor = tensorAt(arguments, 0);
  const std::shared_ptr<Region> region = state_->requireRegion(arguments.op(), tensor);
  const ggml_backend_buffer_t part = tensor->view_src != nullptr ? tensor->view_src->buffer : tensor->buffer;
  if (!ggml_backend_buffer_is_host(part))
    fail("BACKEND", arguments.op(), "expected host memory, got " + std::string(ggml_backend_buffer_name(part)) + "; use read()");
  if (!ggml_is_contiguous(tensor))
    fail("BACKEND", arguments.op(), "expected a contiguous tensor, got the strided " + std::string(tensor->name) + "; use read()");
  const Napi::ArrayBuffer array = region->arrayBuffer(info.Env(), arguments.op(), part);
  const size_t offset = static_cast<size_t>(static_cast<char*>(tensor->data) - static_cast<char*>(ggml_backend_buffer_get_base(part)));
  return Napi::Uint8Array::New(info.Env(), ggml_nbytes(tensor), array, offset);
}

Napi::Value Context::close(const Napi::CallbackInfo& info) {
  state_.reset();
  accountFor(0);
  return info.Env().Undefined();
}

}  // namespace zayascope
