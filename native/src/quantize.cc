#include "quantize.h"

#include <ggml.h>

#include <cmath>

#include "arguments.h"
#include "ggml-guard.h"
#include "region.h"
#include "task.h"

namespace zayascope {
namespace {

struct Rows {
  ggml_type type;
  int64_t columns;
  size_t rowSize;  // in bytes
};

Rows rowsArgument(const Arguments& arguments, size_t typeIndex, size_t columnsIndex) {
  const auto type = static_cast<ggml_type>(arguments.integer(typeIndex, "type", 0, GGML_TYPE_COUNT - 1));
  const int64_t columns = arguments.integer(columnsIndex, "columns", 1, maxSafeInteger / 8);
  const int64_t block = ggml_blck_size(type);
  if (block == 0) fail("DTYPE_UNSUPPORTED", arguments.op(), "expected a type that ggml still has, got " + std::to_string(type));
  if (columns % block != 0)
    fail("BAD_ARGUMENT", arguments.op(),
         "expected rows of whole " + std::string(ggml_type_name(type)) + " blocks of " + std::to_string(block) + ", got " +
             std::to_string(columns) + " columns");
  return {type, columns, ggml_row_size(type, columns)};
}

bool isPlain(ggml_type type) { return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16; }

// ggml's quantisers assume finite values; plain types take all.
void requireFinite(const char* op, const float* values, size_t count) {
  double probe = 0;
  for (size_t i = 0; i < count; i++) probe += values[i] * 0.0f;  // stays 0 unless one is NaN or infinite
  if (probe == 0) return;
  size_t at = 0;
  while (std::isfinite(values[at])) at++;
  fail("BAD_ARGUMENT", op, "expected finite values to quantise, got " + std::to_string(values[at]) + " at index " + std::to_string(at));
}

void quantizeRows(const char* op, const Rows& shape, const float* values, int64_t rows, const float* importance, uint8_t* out) {
  const size_t count = static_cast<size_t>(rows * shape.columns);
  if (!isPlain(shape.type)) requireFinite(op, values, count);
  guardGgml(op, [&] { ggml_quantize_chunk(shape.type, values, out, 0, rows, shape.columns, importance); });
  if (!isPlain(shape.type) && !ggml_validate_row_data(shape.type, out, static_cast<size_t>(rows) * shape.rowSize))
    fail("BACKEND", op, "expected finite scales, got values too large for " + std::string(ggml_type_name(shape.type)));
}

}  // namespace

Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "quantize", 4);
  const char* op = arguments.op();
  Napi::Float32Array values = arguments.typedArray(0, "values", napi_float32_array, "Float32Array").As<Napi::Float32Array>();
  const Rows shape = rowsArgument(arguments, 1, 2);
  const bool quantised = ggml_is_quantized(shape.type) && shape.type != GGML_TYPE_Q8_1 && shape.type != GGML_TYPE_Q8_K;
  if (!quantised && !isPlain(shape.type))
    fail("DTYPE_UNSUPPORTED", op, "expected a type for weights, got " + std::string(ggml_type_name(shape.type)));
  if (values.ElementLength() % static_cast<size_t>(shape.columns) != 0)
    fail("BAD_ARGUMENT", op,
         "expected whole rows of " + std::to_string(shape.columns) + " values, got " + std::to_string(values.ElementLength()));
  const float* importance = nullptr;
  std::vector<Napi::Object> kept{values};
  if (!info[3].IsNull()) {
    Napi::Float32Array weights = arguments.typedArray(3, "importance", napi_float32_array, "Float32Array or null").As<Napi::Float32Array>();
    if (weights.ElementLength() != static_cast<size_t>(shape.columns))
      fail("BAD_ARGUMENT", op,
           "expected one importance per column (" + std::to_string(shape.columns) + "), got " + std::to_string(weights.ElementLength()));
    importance = weights.Data();
    kept.push_back(weights);
  } else if (ggml_quantize_requires_imatrix(shape.type)) {
    fail("BAD_ARGUMENT", op, "expected importance for " + std::string(ggml_type_name(shape.type)) + ", got null");
  }
  const int64_t rows = static_cast<int64_t>(values.ElementLength()) / shape.columns;
  Napi::Uint8Array result = Napi::Uint8Array::New(info.Env(), static_cast<size_t>(rows) * shape.rowSize);
  const float* from = values.Data();
  uint8_t* to = result.Data();
  const std::shared_ptr<Memory> lender = Instance::of(info.Env()).lenderOf(from);
  const auto run = [=, hold = lender] { quantizeRows(op, shape, from, rows, importance, to); };
  return Task::start(arguments, run, kept, result);
}

Napi::Value dequantize(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "dequantize", 4);
  const char* op = arguments.op();
  const Bytes bytes = arguments.bytes(0, "bytes");
  const Rows shape = rowsArgument(arguments, 1, 2);
  Napi::Float32Array out = arguments.typedArray(3, "out", napi_float32_array, "Float32Array").As<Napi::Float32Array>();
  const ggml_to_float_t convert = ggml_get_type_traits(shape.type)->to_float;
  if (convert == nullptr && shape.type != GGML_TYPE_F32)
    fail("DTYPE_UNSUPPORTED", op, "expected a type that converts to F32, got " + std::string(ggml_type_name(shape.type)));
  if (bytes.size % shape.rowSize != 0)
    fail("BAD_ARGUMENT", op,
         "expected whole rows of " + std::to_string(shape.rowSize) + " bytes, got " + std::to_string(bytes.size) + " bytes");
  const size_t rows = bytes.size / shape.rowSize;
  const size_t elements = rows * static_cast<size_t>(shape.columns);
  if (out.ElementLength() != elements)
    fail("BAD_ARGUMENT", op, "expected out to hold " + std::to_string(elements) + " values, got " + std::to_string(out.ElementLength()));
  float* to = out.Data();
  Instance& instance = Instance::of(info.Env());
  const auto run = [=, holdBytes = instance.lenderOf(bytes.data), holdOut = instance.lenderOf(to)] {
    if (convert == nullptr) {
      std::memcpy(to, bytes.data, bytes.size);
      return;
    }
    for (size_t row = 0; row < rows; row++)
      convert(bytes.data + row * shape.rowSize, to + row * static_cast<size_t>(shape.columns), shape.columns);
  };
  return Task::start(arguments, run, {info[0].As<Napi::Object>(), out}, info.Env().Undefined());
}

}  // namespace zayascope
