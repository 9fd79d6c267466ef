// quantise IN OUT TYPE: a GGUF file with its matrices in another type (llama_ftype).
#include <string>

#include "llama.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = static_cast<llama_ftype>(std::stoi(argv[3]));
  params.nthread = 1;
  return llama_model_quantize(argv[1], argv[2], &params) == 0 ? 0 : 1;
}
