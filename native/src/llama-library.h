#pragma once

#include <llama.h>

#include <string>

namespace zayascope {

// The functions of libllama that are called, found when it is asked for: nothing else needs the library.
#define ZAYASCOPE_LLAMA_FUNCTIONS(each)                                                                      \
  each(model_default_params) each(context_default_params) each(model_load_from_file) each(model_free)        \
  each(init_from_model) each(free) each(decode) each(batch_init) each(batch_free) each(get_logits_ith)       \
  each(model_get_vocab) each(vocab_n_tokens) each(model_desc) each(model_n_ctx_train) each(log_set)

struct LlamaLibrary {
#define ZAYASCOPE_DECLARE(name) decltype(&llama_##name) name;
  ZAYASCOPE_LLAMA_FUNCTIONS(ZAYASCOPE_DECLARE)
#undef ZAYASCOPE_DECLARE
};

// Loads the library of this file, once a process; fails with BACKEND if it does not load or lacks a function.
const LlamaLibrary& llamaLibrary(const char* op, const std::string& file);

// The first error that libllama or ggml logged on this thread since it was cleared.
std::string llamaError();
void clearLlamaError();

}  // namespace zayascope
