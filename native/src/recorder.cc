#include "recorder.h"

#include <ggml-backend.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "graph.h"
#include "tensor-bytes.h"

namespace zayascope {
namespace {

// Values that wait to be written, beyond which the model waits.
constexpr size_t maxWaiting = size_t{256} << 20;

const char* kindOf(const ggml_tensor* tensor) {
  if (computes(tensor)) return "node";
  if (tensor->op != GGML_OP_NONE || tensor->view_src != nullptr) return "view";
  if (tensor->buffer == nullptr) return "input";
  switch (ggml_backend_buffer_get_usage(tensor->buffer)) {
    case GGML_BACKEND_BUFFER_USAGE_WEIGHTS: return "weight";
    case GGML_BACKEND_BUFFER_USAGE_COMPUTE: return "input";
    default: return "state";
  }
}

bool isZero(const Block& bytes) {
  return std::all_of(bytes.data.get(), bytes.data.get() + bytes.size, [](uint8_t byte) { return byte == 0; });
}

// Tokens and positions of a micro-batch: they say which rows it has.
bool isRowInput(const ggml_tensor* tensor) {
  return tensor->type == GGML_TYPE_I32 && tensor->ne[1] == 1 && tensor->ne[2] == 1 && tensor->ne[3] == 1;
}

// What a graph has once.
bool isOfEveryGraph(const ggml_tensor* tensor) {
  static constexpr const char* names[] = {"inp_tokens", "inp_pos", "inp_embd", "inp_out_ids"};
  return tensor->op == GGML_OP_NONE &&
         std::any_of(std::begin(names), std::end(names), [&](const char* name) { return std::strcmp(name, tensor->name) == 0; });
}

}  // namespace

bool Recorder::callback(ggml_tensor* tensor, bool ask, void* recorder) {
  Recorder& self = *static_cast<Recorder*>(recorder);
  if (self.cancelled_.load()) return false;
  if (ask) return self.mode_ != Mode::off && self.ask(tensor);
  self.computed(tensor);
  return true;
}

void Recorder::begin(Mode mode) {
  mode_ = mode;
  graph_++;
  ids_.clear();
  asked_.clear();
  inputs_.clear();
}

void Recorder::forget() {
  graph_ = -1;
  nextId_ = 0;
  lasting_.clear();
  grafts_.clear();
  graftProblem_.clear();
  wantsAll_ = true;
  grafted_ = 0;
}

void Recorder::want(const std::vector<int64_t>& ids) {
  wantsAll_ = false;
  wanted_.clear();
  for (const int64_t id : ids) wanted_.insert(static_cast<int>(id));
}

void Recorder::release(size_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_ -= std::min(bytes, waiting_);
  }
  room_.notify_all();
}

void Recorder::cancel() {
  cancelled_.store(true);
  room_.notify_all();
}

bool Recorder::ask(ggml_tensor* tensor) {
  if (isOfNextGraph(tensor)) begin(mode_);  // libllama runs the next micro-batch
  asked_.insert(tensor);
  describe(tensor);
  const int id = ids_.at(tensor);
  if (!computes(tensor) || (!wants(id) && grafts_.count(id) == 0)) return false;
  if (tensor->op == GGML_OP_SET_ROWS) rows_ = rowNumbers(tensor->src[1]);
  return true;
}

// A graph's nodes come once, and it has one tensor for token ids and one for positions: what is there twice
// tells that another graph runs, in the memory of the one before or in other memory.
bool Recorder::isOfNextGraph(const ggml_tensor* tensor) const {
  if (asked_.count(tensor) > 0) return true;
  return std::any_of(std::begin(tensor->src), std::end(tensor->src), [&](const ggml_tensor* source) {
    return source != nullptr && isOfEveryGraph(source) && ids_.count(source) == 0 && inputs_.count(source->name) > 0;
  });
}

void Recorder::computed(ggml_tensor* tensor) {
  const int id = ids_.at(tensor);
  const auto graft = grafts_.find(id);
  if (graft != grafts_.end()) {
    put(tensor, id, graft->second);
    grafts_.erase(graft);
  }
  if (!wants(id)) return;
  auto* recorded = new Recorded;
  recorded->id = id;
  recorded->graph = graph_;
  recorded->hasValue = true;
  const ggml_tensor* shape = tensor->op == GGML_OP_SET_ROWS ? tensor->src[0] : tensor;
  std::copy_n(shape->ne, GGML_MAX_DIMS, recorded->ne);
  recorded->value = tensor->op == GGML_OP_SET_ROWS ? writtenRows(tensor, rows_) : packed(tensor);
  send(recorded);
}

void Recorder::put(ggml_tensor* tensor, int id, const std::vector<uint8_t>& bytes) {
  const bool isRows = tensor->op == GGML_OP_SET_ROWS;
  const size_t expected = ggml_row_size(tensor->type, tensor->ne[0]) * static_cast<size_t>(ggml_nrows(isRows ? tensor->src[0] : tensor));
  if (bytes.size() != expected) {
    graftProblem_ = "expected " + std::to_string(expected) + " bytes for " + tensor->name + " (tensor " + std::to_string(id) + "), got " +
                    std::to_string(bytes.size());
    return;
  }
  const uint8_t* from = bytes.data();
  const auto write = [&](size_t at, size_t size) {
    ggml_backend_tensor_set(tensor, from, at, size);
    from += size;
  };
  if (isRows)
    eachWrittenRow(tensor, rows_, write);
  else
    eachPiece(tensor, write);
  grafted_++;
}

// Sources and the memory's owner first; a graph's chain of views is short, and nodes come in order.
int Recorder::describe(ggml_tensor* tensor) {
  const auto known = ids_.find(tensor);
  if (known != ids_.end()) return known->second;
  const char* kind = kindOf(tensor);
  const bool lasts = std::strcmp(kind, "weight") == 0 || std::strcmp(kind, "state") == 0;
  if (lasts) {
    const auto found = lasting_.find(tensor);
    if (found != lasting_.end()) return ids_[tensor] = found->second;
  }
  auto* recorded = new Recorded;
  for (int k = 0; k < GGML_MAX_SRC; k++) {
    if (tensor->src[k] == nullptr || tensor->src[k] == tensor) continue;  // a cast has itself as its second
    recorded->src.resize(static_cast<size_t>(k) + 1, -1);
    recorded->src.back() = describe(tensor->src[k]);
  }
  if (tensor->view_src != nullptr) recorded->viewSrc = describe(tensor->view_src);
  recorded->id = nextId_++;
  recorded->graph = graph_;
  recorded->kind = kind;
  recorded->name = tensor->name;
  recorded->op = ggml_op_name(tensor->op);
  recorded->type = tensor->type;
  std::copy_n(tensor->ne, GGML_MAX_DIMS, recorded->ne);
  std::copy_n(tensor->nb, GGML_MAX_DIMS, recorded->nb);
  std::copy(std::begin(tensor->op_params), std::end(tensor->op_params), std::begin(recorded->params));
  recorded->flags = tensor->flags;
  recorded->viewOffs = tensor->view_offs;
  if (tensor->buffer != nullptr) recorded->buffer = ggml_backend_buffer_name(tensor->buffer);
  const bool hasMemory = tensor->buffer != nullptr && tensor->data != nullptr;
  const bool isLeaf = tensor->op == GGML_OP_NONE && tensor->view_src == nullptr && std::strcmp(kind, "weight") != 0;
  const bool isTold = wants(recorded->id) || (mode_ == Mode::structure && !lasts && isRowInput(tensor));
  if (hasMemory && isLeaf && (isTold || lasts)) {
    recorded->value = packed(tensor);
    recorded->isZero = lasts && isZero(recorded->value);
    recorded->hasValue = isTold && !recorded->isZero;
    if (!recorded->hasValue) recorded->value = Block();
  }
  if (isOfEveryGraph(tensor)) inputs_.insert(tensor->name);
  if (lasts) lasting_[tensor] = recorded->id;
  ids_[tensor] = recorded->id;
  const int id = recorded->id;
  send(recorded);
  return id;
}

void Recorder::send(Recorded* recorded) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    room_.wait(lock, [&] { return waiting_ < maxWaiting || cancelled_.load(); });
    waiting_ += recorded->value.size;
  }
  sent_++;
  send_(recorded);
}

}  // namespace zayascope
