#pragma once

#include <ggml.h>

#include <string>
#include <vector>

namespace zayascope {

struct OpCall {
  ggml_context* context = nullptr;
  std::vector<ggml_tensor*> sources;
  std::vector<double> params;
  ggml_type type = GGML_TYPE_F32;  // what the caller expects of the result; the target type of cast
};

struct OpSpec {
  const char* name;  // as the ggml function, without `ggml_`
  size_t leastSources;
  size_t mostSources;
  // One letter per scalar in ggml's order: i an integer, f a float, b a bool, t an element type; those after
  // | may be left out.
  const char* params;
  ggml_tensor* (*build)(const OpCall& call);
};

// Throws BAD_ARGUMENT for a name that the table does not have.
const OpSpec& findOp(const std::string& name);

// Throws BAD_ARGUMENT where the counts of sources or parameters, or the kind of a parameter, differ from the
// table.
void checkOp(const OpSpec& spec, const OpCall& call);

}  // namespace zayascope
