#include "ops.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "failure.h"

namespace zayascope {
namespace {

using Unary = ggml_tensor* (*)(ggml_context*, ggml_tensor*);
using Binary = ggml_tensor* (*)(ggml_context*, ggml_tensor*, ggml_tensor*);
using Ternary = ggml_tensor* (*)(ggml_context*, ggml_tensor*, ggml_tensor*, ggml_tensor*);
using Normalise = ggml_tensor* (*)(ggml_context*, ggml_tensor*, float);

ggml_tensor* source(const OpCall& call, size_t index) { return index < call.sources.size() ? call.sources[index] : nullptr; }
float real(const OpCall& call, size_t index) { return static_cast<float>(call.params[index]); }
int integer(const OpCall& call, size_t index) { return static_cast<int>(call.params[index]); }
int64_t wide(const OpCall& call, size_t index) { return static_cast<int64_t>(call.params[index]); }
size_t bytes(const OpCall& call, size_t index) { return static_cast<size_t>(call.params[index]); }

template <Unary Function>
ggml_tensor* unary(const OpCall& call) {
  return Function(call.context, source(call, 0));
}

template <Binary Function>
ggml_tensor* binary(const OpCall& call) {
  return Function(call.context, source(call, 0), source(call, 1));
}

template <Ternary Function>
ggml_tensor* ternary(const OpCall& call) {
  return Function(call.context, source(call, 0), source(call, 1), source(call, 2));
}

template <Normalise Function>
ggml_tensor* normalise(const OpCall& call) {
  return Function(call.context, source(call, 0), real(call, 0));
}

ggml_tensor* scale(const OpCall& call) {
  if (call.params.size() == 1) return ggml_scale(call.context, source(call, 0), real(call, 0));
  return ggml_scale_bias(call.context, source(call, 0), real(call, 0), real(call, 1));
}

ggml_tensor* mulMat(const OpCall& call) {
  ggml_tensor* result = ggml_mul_mat(call.context, source(call, 0), source(call, 1));
  if (!call.params.empty()) ggml_prec_set_acc(result, static_cast<ggml_prec>(integer(call, 0)));
  return result;
}

ggml_tensor* cast(const OpCall& call) {
  return ggml_cast(call.context, source(call, 0), call.params.empty() ? call.type : static_cast<ggml_type>(integer(call, 0)));
}

ggml_tensor* concat(const OpCall& call) { return ggml_concat(call.context, source(call, 0), source(call, 1), integer(call, 0)); }

ggml_tensor* repeat(const OpCall& call) {
  return ggml_repeat_4d(call.context, source(call, 0), wide(call, 0), wide(call, 1), wide(call, 2), wide(call, 3));
}

ggml_tensor* reshape(const OpCall& call) {
  return ggml_reshape_4d(call.context, source(call, 0), wide(call, 0), wide(call, 1), wide(call, 2), wide(call, 3));
}

ggml_tensor* permute(const OpCall& call) {
  return ggml_permute(call.context, source(call, 0), integer(call, 0), integer(call, 1), integer(call, 2), integer(call, 3));
}

ggml_tensor* view(const OpCall& call) {
  return ggml_view_4d(call.context, source(call, 0), wide(call, 0), wide(call, 1), wide(call, 2), wide(call, 3), bytes(call, 4),
                      bytes(call, 5), bytes(call, 6), bytes(call, 7));
}

ggml_tensor* softMaxExt(const OpCall& call) {
  return ggml_soft_max_ext(call.context, source(call, 0), source(call, 1), real(call, 0), real(call, 1));
}

ggml_tensor* ropeExt(const OpCall& call) {
  return ggml_rope_ext(call.context, source(call, 0), source(call, 1), source(call, 2), integer(call, 0), integer(call, 1),
                       integer(call, 2), real(call, 3), real(call, 4), real(call, 5), real(call, 6), real(call, 7), real(call, 8));
}

ggml_tensor* im2col(const OpCall& call) {
  return ggml_im2col(call.context, source(call, 0), source(call, 1), integer(call, 0), integer(call, 1), integer(call, 2), integer(call, 3),
                     integer(call, 4), integer(call, 5), integer(call, 6) != 0, static_cast<ggml_type>(integer(call, 7)));
}

ggml_tensor* argsort(const OpCall& call) {
  return ggml_argsort(call.context, source(call, 0), static_cast<ggml_sort_order>(integer(call, 0)));
}
ggml_tensor* clamp(const OpCall& call) { return ggml_clamp(call.context, source(call, 0), real(call, 0), real(call, 1)); }

constexpr OpSpec table[] = {
    {"add", 2, 2, "", binary<ggml_add>},
    {"argmax", 1, 1, "", unary<ggml_argmax>},
    {"argsort", 1, 1, "i", argsort},
    {"cast", 1, 1, "|t", cast},
    {"clamp", 1, 1, "ff", clamp},
    {"concat", 2, 2, "i", concat},
    {"cont", 1, 1, "", unary<ggml_cont>},
    {"cpy", 2, 2, "", binary<ggml_cpy>},
    {"div", 2, 2, "", binary<ggml_div>},
    {"gelu", 1, 1, "", unary<ggml_gelu>},
    {"gelu_erf", 1, 1, "", unary<ggml_gelu_erf>},
    {"get_rows", 2, 2, "", binary<ggml_get_rows>},
    {"im2col", 2, 2, "iiiiiibt", im2col},
    {"l2_norm", 1, 1, "f", normalise<ggml_l2_norm>},
    {"mean", 1, 1, "", unary<ggml_mean>},
    {"mul", 2, 2, "", binary<ggml_mul>},
    {"mul_mat", 2, 2, "|i", mulMat},
    {"mul_mat_id", 3, 3, "", ternary<ggml_mul_mat_id>},
    {"permute", 1, 1, "iiii", permute},
    {"repeat", 1, 1, "iiii", repeat},
    {"reshape", 1, 1, "iiii", reshape},
    {"rms_norm", 1, 1, "f", normalise<ggml_rms_norm>},
    {"rope_ext", 2, 3, "iiiffffff", ropeExt},
    {"scale", 1, 1, "f|f", scale},
    {"set_rows", 3, 3, "", ternary<ggml_set_rows>},
    {"silu", 1, 1, "", unary<ggml_silu>},
    {"soft_max_ext", 1, 2, "ff", softMaxExt},
    {"sqrt", 1, 1, "", unary<ggml_sqrt>},
    {"ssm_conv", 2, 2, "", binary<ggml_ssm_conv>},
    {"sub", 2, 2, "", binary<ggml_sub>},
    {"sum_rows", 1, 1, "", unary<ggml_sum_rows>},
    {"swiglu", 1, 1, "", unary<ggml_swiglu>},
    {"transpose", 1, 1, "", unary<ggml_transpose>},
    {"view", 1, 1, "iiiiiiii", view},
};

std::string range(size_t least, size_t most) {
  return least == most ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(most);
}

// Sizes and offsets are 64-bit in ggml, all other integers 32-bit.
bool fits(char kind, double value, bool wideIntegers) {
  if (kind == 'f') return !std::isnan(value);
  if (value != std::floor(value)) return false;
  if (kind == 'b') return value == 0 || value == 1;
  if (kind == 't') return value >= 0 && value < GGML_TYPE_COUNT && ggml_blck_size(static_cast<ggml_type>(value)) > 0;
  if (wideIntegers) return value >= 0 && value <= 9007199254740991.0;
  return value >= std::numeric_limits<int>::min() && value <= std::numeric_limits<int>::max();
}

}  // namespace

const OpSpec& findOp(const std::string& name) {
  for (const OpSpec& spec : table)
    if (name == spec.name) return spec;
  fail("BAD_ARGUMENT", "op", "expected the name of an op, got \"" + name + "\"");
}

void checkOp(const OpSpec& spec, const OpCall& call) {
  const size_t sources = call.sources.size();
  if (sources < spec.leastSources || sources > spec.mostSources)
    fail("BAD_ARGUMENT", spec.name, "expected " + range(spec.leastSources, spec.mostSources) + " sources, got " + std::to_string(sources));
  std::string kinds = spec.params;
  const size_t optional = kinds.find('|');
  const size_t least = optional == std::string::npos ? kinds.size() : optional;
  if (optional != std::string::npos) kinds.erase(optional, 1);
  if (call.params.size() < least || call.params.size() > kinds.size())
    fail("BAD_ARGUMENT", spec.name, "expected " + range(least, kinds.size()) + " parameters, got " + std::to_string(call.params.size()));
  const bool wideIntegers = spec.build == view || spec.build == reshape || spec.build == repeat;
  for (size_t i = 0; i < call.params.size(); i++)
    if (!fits(kinds[i], call.params[i], wideIntegers))
      fail("BAD_ARGUMENT", spec.name,
           "expected parameter " + std::to_string(i) + " of kind " + kinds[i] + ", got " + std::to_string(call.params[i]));
}

}  // namespace zayascope
