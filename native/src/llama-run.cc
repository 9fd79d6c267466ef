#include "llama-run.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <vector>

#include "llama-library.h"
#include "recorder.h"
#include "task.h"

namespace zayascope {

struct LlamaState {
  const LlamaLibrary& library;
  llama_model* model = nullptr;
  llama_context* context = nullptr;
  std::unique_ptr<Recorder> recorder;
  Napi::ThreadSafeFunction listener;
  bool hasListener = false;
  bool running = false;
  int vocabulary = 0;

  explicit LlamaState(const LlamaLibrary& functions) : library(functions) {}
  ~LlamaState() {
    if (context != nullptr) library.free(context);
    if (model != nullptr) library.model_free(model);
    if (hasListener) listener.Release();
  }
  LlamaState(const LlamaState&) = delete;
  LlamaState& operator=(const LlamaState&) = delete;
};

namespace {

constexpr double maxCount = 1 << 24;
constexpr double maxSequences = 64;  // LLAMA_MAX_SEQ is 256; each costs a cache

Napi::Array numbers(Napi::Env env, const int64_t* values) {
  Napi::Array array = Napi::Array::New(env, GGML_MAX_DIMS);
  for (uint32_t k = 0; k < GGML_MAX_DIMS; k++) array.Set(k, static_cast<double>(values[k]));
  return array;
}

void describe(Napi::Env env, const Recorded& recorded, Napi::Object& object) {
  object.Set("kind", recorded.kind);
  object.Set("name", recorded.name);
  object.Set("op", recorded.op);
  object.Set("type", static_cast<double>(recorded.type));
  object.Set("params", paramsHex(recorded.params));
  object.Set("flags", static_cast<double>(recorded.flags));
  Napi::Array src = Napi::Array::New(env, recorded.src.size());
  for (uint32_t k = 0; k < recorded.src.size(); k++)
    src.Set(k, recorded.src[k] < 0 ? env.Null() : Napi::Number::New(env, recorded.src[k]).As<Napi::Value>());
  object.Set("src", src);
  int64_t nb[GGML_MAX_DIMS];
  for (int k = 0; k < GGML_MAX_DIMS; k++) nb[k] = static_cast<int64_t>(recorded.nb[k]);
  object.Set("nb", numbers(env, nb));
  if (recorded.viewSrc >= 0) {
    object.Set("viewSrc", recorded.viewSrc);
    object.Set("viewOffs", static_cast<double>(recorded.viewOffs));
  }
  object.Set("buffer", recorded.buffer);
}

// On the JavaScript thread: hands a tensor over; its bytes belong to the array from then on.
void deliver(Napi::Env env, Napi::Function listener, Recorded* given) {
  std::unique_ptr<Recorded> recorded(given);
  if (env == nullptr || listener.IsEmpty()) return;
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", recorded->id);
  object.Set("graph", recorded->graph);
  object.Set("ne", numbers(env, recorded->ne));
  if (recorded->kind != nullptr) describe(env, *recorded, object);
  if (recorded->isZero) object.Set("isZero", true);
  if (recorded->hasValue) {
    const size_t size = recorded->value.size;
    if (size == 0)
      object.Set("bytes", Napi::Uint8Array::New(env, 0));
    else {
      uint8_t* kept = recorded->value.data.release();
      const auto release = [](Napi::BasicEnv, void* bytes) { delete[] static_cast<uint8_t*>(bytes); };
      object.Set("bytes", Napi::Uint8Array::New(env, size, Napi::ArrayBuffer::New(env, kept, size, release), 0));
    }
  }
  listener.Call({object});
}

// Values are taken and let go of by the megabyte: their pages are used again instead of given back, as each
// new one costs a fault.
void keepFreedMemory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

struct Batch {
  const LlamaLibrary& library;
  llama_batch batch;
  Batch(const LlamaLibrary& functions, int32_t size) : library(functions), batch(functions.batch_init(size, 0, 1)) {}
  ~Batch() { library.batch_free(batch); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
};

int field(const Arguments& arguments, const Napi::Object& options, const char* name, double least, double most) {
  return static_cast<int>(arguments.checkInteger(options.Get(name), name, least, most));
}

}  // namespace

Napi::Function Llama::define(Napi::Env env) {
  return withDispose(env, DefineClass(env, className,
                                      {
                                          getter<&Llama::vocabulary>("vocabulary"),
                                          getter<&Llama::description>("description"),
                                          getter<&Llama::sent>("sent"),
                                          getter<&Llama::grafted>("grafted"),
                                          method<&Llama::graft>("graft"),
                                          method<&Llama::start>("start"),
                                          method<&Llama::decode>("decode"),
                                          method<&Llama::release>("release"),
                                          method<&Llama::free>("free"),
                                          method<&Llama::want>("want"),
                                          method<&Llama::cancel>("cancel"),
                                          method<&Llama::close>("close"),
                                      }));
}

Llama::Llama(const Napi::CallbackInfo& info) : Object(info) {
  protect(info.Env(), [&] {
    const Arguments arguments(info, "record", 3);
    if (!info[2].IsFunction()) arguments.reject("onTensor", "a function", info[2]);
    const std::string file = arguments.text(1, "model");
    keepFreedMemory();
    auto state = std::make_shared<LlamaState>(llamaLibrary(arguments.op(), arguments.text(0, "library")));
    llama_model_params params = state->library.model_default_params();
    params.n_gpu_layers = 0;
    params.use_extra_bufts = false;  // rearranged weights could not be read back
    clearLlamaError();
    state->model = state->library.model_load_from_file(file.c_str(), params);
    if (state->model == nullptr) fail("BAD_CHECKPOINT", arguments.op(), "expected a model that libllama loads, got: " + llamaError());
    state->vocabulary = state->library.vocab_n_tokens(state->library.model_get_vocab(state->model));
    state->listener = Napi::ThreadSafeFunction::New(info.Env(), info[2].As<Napi::Function>(), "zayascope record", 0, 1);
    state->hasListener = true;
    LlamaState* raw = state.get();  // the recorder is part of it
    state->recorder = std::make_unique<Recorder>([raw](Recorded* recorded) {
      if (raw->listener.NonBlockingCall(recorded, deliver) != napi_ok) delete recorded;
    });
    state_ = state;
  });
}

Napi::Value Llama::start(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "record", 1);
  const std::shared_ptr<LlamaState>& state = open(arguments.op());
  if (state->running) fail("BAD_ARGUMENT", arguments.op(), "expected no call in flight, got one");
  const Napi::Object options = arguments.object(0, "options");
  llama_context_params params = state->library.context_default_params();
  params.n_seq_max = static_cast<uint32_t>(field(arguments, options, "sequences", 1, maxSequences));
  params.n_ctx = static_cast<uint32_t>(field(arguments, options, "context", 1, maxCount)) * params.n_seq_max;
  params.n_batch = params.n_ctx;
  params.kv_unified = options.Get("unified").ToBoolean();
  params.n_ubatch = static_cast<uint32_t>(field(arguments, options, "ubatch", 1, maxCount));
  params.n_threads = params.n_threads_batch = field(arguments, options, "threads", 1, 512);
  params.flash_attn_type = options.Get("flashAttention").ToBoolean() ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = static_cast<ggml_type>(field(arguments, options, "keyType", 0, GGML_TYPE_COUNT - 1));
  params.type_v = static_cast<ggml_type>(field(arguments, options, "valueType", 0, GGML_TYPE_COUNT - 1));
  params.cb_eval = Recorder::callback;
  params.cb_eval_user_data = state->recorder.get();
  if (state->context != nullptr) state->library.free(state->context);
  state->context = nullptr;
  state->recorder->begin(Recorder::Mode::off);
  clearLlamaError();
  state->context = state->library.init_from_model(state->model, params);
  if (state->context == nullptr) fail("BACKEND", arguments.op(), "expected a context for these options, got: " + llamaError());
  state->recorder->forget();
  return info.Env().Undefined();
}

// decode(tokens, positions, sequences, mode): logits of each token, one row after the other.
Napi::Value Llama::decode(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "record", 4);
  const std::shared_ptr<LlamaState>& state = open(arguments.op());
  const std::vector<int64_t> tokens = arguments.integers(0, "tokens", 0, maxCount);
  const std::vector<int64_t> positions = arguments.integers(1, "positions", 0, maxCount);
  const std::vector<int64_t> sequences = arguments.integers(2, "sequences", 0, maxSequences - 1);
  const auto mode = static_cast<Recorder::Mode>(arguments.integer(3, "mode", 0, 2));
  if (tokens.empty()) fail("BAD_ARGUMENT", arguments.op(), "expected tokens, got none");
  if (positions.size() != tokens.size() || sequences.size() != tokens.size())
    fail("BAD_ARGUMENT", arguments.op(), "expected a position and a sequence for each token, got others");
  if (state->context == nullptr) fail("BAD_ARGUMENT", arguments.op(), "expected start() before, got no context");
  if (state->running) fail("BAD_ARGUMENT", arguments.op(), "expected no call in flight, got one");
  for (const int64_t token : tokens)
    if (token >= state->vocabulary)
      fail("BAD_ARGUMENT", arguments.op(),
           "expected token ids below " + std::to_string(state->vocabulary) + ", got " + std::to_string(token));
  const size_t rowSize = static_cast<size_t>(state->vocabulary);
  Napi::Float32Array logits = Napi::Float32Array::New(info.Env(), tokens.size() * rowSize);
  float* out = logits.Data();
  state->running = true;
  auto task = std::make_unique<Task>(
      info.Env(), "record",
      [state, tokens, positions, sequences, mode, out, rowSize] {
        Batch holder(state->library, static_cast<int32_t>(tokens.size()));
        llama_batch& batch = holder.batch;
        batch.n_tokens = static_cast<int32_t>(tokens.size());
        for (size_t k = 0; k < tokens.size(); k++) {
          batch.token[k] = static_cast<llama_token>(tokens[k]);
          batch.pos[k] = static_cast<llama_pos>(positions[k]);
          batch.n_seq_id[k] = 1;
          batch.seq_id[k][0] = static_cast<llama_seq_id>(sequences[k]);
          batch.logits[k] = 1;
        }
        state->recorder->begin(mode);
        clearLlamaError();
        const int status = state->library.decode(state->context, batch);
        if (state->recorder->cancelled()) fail("CANCELLED", "record", "cancelled by the caller");
        if (!state->recorder->graftProblem().empty()) fail("BAD_ARGUMENT", "record", state->recorder->graftProblem());
        if (status != 0)
          fail("BACKEND", "record", "expected the model to run, got status " + std::to_string(status) + ": " + llamaError());
        for (int32_t k = 0; k < batch.n_tokens; k++) {
          const float* row = state->library.get_logits_ith(state->context, k);
          if (row == nullptr) fail("BACKEND", "record", "expected logits of every token, got none of token " + std::to_string(k));
          std::copy_n(row, rowSize, out + static_cast<size_t>(k) * rowSize);
        }
      },
      [kept = std::make_shared<Napi::Reference<Napi::Value>>(Napi::Persistent(logits.As<Napi::Value>()))](Napi::Env) { return kept->Value(); });
  task->onDone([state](bool) { state->running = false; });
  const Napi::Promise promise = task->promise();
  task.release()->Queue();  // deletes itself when done
  return promise;
}

// The ids whose values are to be read until the next start().
Napi::Value Llama::want(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "record", 1);
  const std::shared_ptr<LlamaState>& state = open(arguments.op());
  if (state->running) fail("BAD_ARGUMENT", arguments.op(), "expected no call in flight, got one");
  state->recorder->want(arguments.integers(0, "ids", 0, maxCount));
  return info.Env().Undefined();
}

Napi::Value Llama::graft(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "record", 2);
  const std::shared_ptr<LlamaState>& state = open(arguments.op());
  if (state->running) fail("BAD_ARGUMENT", arguments.op(), "expected no call in flight, got one");
  const int id = static_cast<int>(arguments.integer(0, "id", 0, maxCount));
  const Bytes bytes = arguments.bytes(1, "bytes");
  state->recorder->graft(id, {bytes.data, bytes.data + bytes.size});
  return info.Env().Undefined();
}

Napi::Value Llama::grafted(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(open("grafted")->recorder->grafted()));
}

Napi::Value Llama::release(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "release", 1);
  open(arguments.op())->recorder->release(arguments.size(0, "bytes"));
  return info.Env().Undefined();
}

// free(array): lets go of a value's memory without waiting for the garbage collector.
Napi::Value Llama::free(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "free", 1);
  if (!info[0].IsTypedArray()) arguments.reject("bytes", "an array of bytes", info[0]);
  Napi::ArrayBuffer buffer = info[0].As<Napi::TypedArray>().ArrayBuffer();
  if (!buffer.IsDetached()) buffer.Detach();
  return info.Env().Undefined();
}

Napi::Value Llama::cancel(const Napi::CallbackInfo& info) {
  open("cancel")->recorder->cancel();
  return info.Env().Undefined();
}

Napi::Value Llama::sent(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(open("sent")->recorder->sent()));
}

Napi::Value Llama::vocabulary(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), open("vocabulary")->vocabulary); }

Napi::Value Llama::description(const Napi::CallbackInfo& info) {
  const std::shared_ptr<LlamaState>& state = open("description");
  char text[256] = "";
  state->library.model_desc(state->model, text, sizeof text);
  return Napi::String::New(info.Env(), text);
}

Napi::Value Llama::close(const Napi::CallbackInfo& info) {
  state_.reset();
  return info.Env().Undefined();
}

}  // namespace zayascope
