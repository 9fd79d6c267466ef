#pragma once

#include <ggml.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tensor-bytes.h"

namespace zayascope {

// One tensor of a graph that ran, or one value of it: what goes to JavaScript.
struct Recorded {
  int id = 0;
  int graph = 0;
  // "node" computes, "view" does not, "weight", "input" (given anew for each graph), "state" (kept between
  // graphs); null for a value of a tensor that has been described.
  const char* kind = nullptr;
  std::string name;
  const char* op = "";
  ggml_type type = GGML_TYPE_F32;
  int64_t ne[GGML_MAX_DIMS] = {};
  size_t nb[GGML_MAX_DIMS] = {};
  int32_t params[GGML_MAX_OP_PARAMS / sizeof(int32_t)] = {};
  int32_t flags = 0;
  std::vector<int> src;  // -1 for an empty place
  int viewSrc = -1;
  size_t viewOffs = 0;
  std::string buffer;
  bool hasValue = false;
  bool isZero = false;  // a state of zeros, whose bytes are not sent
  Block value;          // elements in order, `ne` of them, whatever the strides
};

// Follows libllama's eval callback: describes each tensor once, and reads values where they are whole. All of
// it runs on the thread that computes, but `release` and `cancel`.
class Recorder {
 public:
  enum class Mode { off, structure, values };
  using Send = std::function<void(Recorded*)>;  // takes ownership

  explicit Recorder(Send send) : send_(std::move(send)) {}

  static bool callback(ggml_tensor* tensor, bool ask, void* recorder);

  // Before each call of the model. Tensors that live on (weights, states) are described once.
  void begin(Mode mode);
  // After a new context: nothing lives on but weights.
  void forget();
  // Bytes to put into a node (elements in order; of a SET_ROWS the rows that it writes) when it has run next.
  void graft(int id, std::vector<uint8_t> bytes) { grafts_[id] = std::move(bytes); }
  // What could not be put, as a sentence; and how many were put.
  const std::string& graftProblem() const { return graftProblem_; }
  size_t grafted() const { return grafted_; }
  // Only values of these tensors are read; until `forget`. Without it, all.
  void want(const std::vector<int64_t>& ids);
  // So many bytes of values have been written: room for as many more.
  void release(size_t bytes);
  void cancel();
  bool cancelled() const { return cancelled_.load(); }
  // How many tensors and values have been sent so far.
  size_t sent() const { return sent_.load(); }

 private:
  bool ask(ggml_tensor* tensor);
  bool isOfNextGraph(const ggml_tensor* tensor) const;
  void computed(ggml_tensor* tensor);
  void put(ggml_tensor* tensor, int id, const std::vector<uint8_t>& bytes);
  bool wants(int id) const { return mode_ == Mode::values && (wantsAll_ || wanted_.count(id) > 0); }
  int describe(ggml_tensor* tensor);
  void send(Recorded* recorded);

  Send send_;
  Mode mode_ = Mode::off;
  int graph_ = -1;
  int nextId_ = 0;
  std::unordered_map<const ggml_tensor*, int> lasting_;
  std::unordered_map<const ggml_tensor*, int> ids_;  // of this graph
  std::unordered_set<const ggml_tensor*> asked_;     // of this graph
  std::unordered_set<std::string> inputs_;           // of this graph: those that it has once
  std::vector<int64_t> rows_;                        // where a SET_ROWS writes, read before it runs
  std::unordered_map<int, std::vector<uint8_t>> grafts_;
  std::unordered_set<int> wanted_;
  bool wantsAll_ = true;
  std::string graftProblem_;
  size_t grafted_ = 0;
  std::atomic<bool> cancelled_{false};
  std::atomic<size_t> sent_{0};
  std::mutex mutex_;
  std::condition_variable room_;
  size_t waiting_ = 0;  // bytes that are sent and not released
};

}  // namespace zayascope
