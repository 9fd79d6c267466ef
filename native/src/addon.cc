// The map of the addon: everything that src/native.ts declares, and the file that holds it.
#include <napi.h>

#include "arena.h"
#include "arguments.h"
#include "backend.h"
#include "buffer.h"
#include "context.h"
#include "devices.h"
#include "ggml-guard.h"
#include "gguf.h"
#include "graph.h"
#include "instance.h"
#include "mapping.h"
#include "quantize.h"
#include "replay-node.h"
#include "row-stats.h"
#ifdef ZAYASCOPE_HAS_LLAMA
#include "llama-run.h"
#endif

namespace zayascope {
namespace {

Napi::Value setErrorClass(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "setErrorClass", 1);
  if (!info[0].IsFunction()) arguments.reject("errorClass", "a class", info[0]);
  Instance::of(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
void define(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<protectedFunction<Function>>(exports.Env(), name));
}

template <class T>
void define(Napi::Object exports) {
  exports.Set(T::className, T::define(exports.Env()));
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  installGgmlHandlers();
  env.SetInstanceData(new Instance);
  define<setErrorClass>(exports, "setErrorClass");
  define<version>(exports, "version");            // devices.cc
  define<loadBackends>(exports, "loadBackends");  // devices.cc
  define<loadBackend>(exports, "loadBackend");    // devices.cc
  define<devices>(exports, "devices");            // devices.cc
  define<cpuFeatures>(exports, "cpuFeatures");    // devices.cc
  define<Backend>(exports);                       // backend.cc, compute.cc
  define<Context>(exports);                       // context.cc, context-state.cc, ops.cc
  define<Buffer>(exports);                        // buffer.cc, region.cc
  define<Mapping>(exports);                       // mapping.cc
  define<Graph>(exports);                         // graph.cc
  define<Arena>(exports);                         // arena.cc
#ifdef ZAYASCOPE_HAS_LLAMA
  define<Llama>(exports);                         // llama-run.cc, llama-library.cc, recorder.cc
#endif
  define<replayNode>(exports, "replayNode");      // replay-node.cc
  define<rowStats>(exports, "rowStats");          // row-stats.cc
  define<dequantize>(exports, "dequantize");      // quantize.cc
  define<quantize>(exports, "quantize");          // quantize.cc
  define<ggufHeader>(exports, "ggufHeader");      // gguf-header.cc
  return exports;
}

}  // namespace
}  // namespace zayascope

Napi::Object Init(Napi::Env env, Napi::Object exports) { return zayascope::initialise(env, exports); }

NODE_API_MODULE(zayascope, Init)
