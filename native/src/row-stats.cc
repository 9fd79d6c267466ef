#include "row-stats.h"

#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "arguments.h"
#include "region.h"
#include "task.h"

namespace zayascope {
namespace {

// Twice the speed where the CPU has it, chosen when the addon is loaded. No fused multiply-add, so that
// results do not depend on the machine.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define ZAYASCOPE_WIDE_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define ZAYASCOPE_WIDE_VECTORS
#endif

constexpr size_t valuesPerRow = 7;
constexpr size_t lanes = 16;  // independent sums, so that the compiler can use vector registers without reordering additions within one
constexpr size_t chunk = lanes * 32;  // converted to F32 at a time; a multiple of lanes

// Running sums of one row. No branch depends on the data: values that are not finite count as 0 in the sums
// and as the neutral element of min and max.
struct FloatSums {
  double sum[lanes] = {};
  double squares[lanes] = {};
  float least[lanes];
  float most[lanes];
  uint32_t notFinite[lanes] = {};
  uint32_t nan[lanes] = {};

  FloatSums() {
    std::fill_n(least, lanes, std::numeric_limits<float>::infinity());
    std::fill_n(most, lanes, -std::numeric_limits<float>::infinity());
  }

  void addLane(size_t lane, float value) {
    constexpr uint32_t infinity = 0x7f800000;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint32_t magnitude = bits & 0x7fffffff;
    const uint32_t keep = magnitude < infinity ? ~0u : 0u;
    const float finite = fromBits(bits & keep);
    const float low = fromBits((bits & keep) | (~keep & infinity));
    const float high = fromBits((bits & keep) | (~keep & (infinity | 0x80000000)));
    const double wide = finite;
    sum[lane] += wide;
    squares[lane] += wide * wide;
    least[lane] = low < least[lane] ? low : least[lane];
    most[lane] = high > most[lane] ? high : most[lane];
    notFinite[lane] += ~keep & 1u;
    nan[lane] += magnitude > infinity ? 1u : 0u;
  }

  ZAYASCOPE_WIDE_VECTORS void add(const float* values, size_t count) {
    size_t i = 0;
    for (; i + lanes <= count; i += lanes)
      for (size_t lane = 0; lane < lanes; lane++) addLane(lane, values[i + lane]);
    for (size_t lane = 0; i < count; i++, lane++) addLane(lane, values[i]);
  }

  static float fromBits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
};

void store(double* out, double least, double most, double sum, double squares, double nan, double infinite, size_t columns) {
  const double finite = static_cast<double>(columns) - nan - infinite;
  const double none = std::numeric_limits<double>::quiet_NaN();
  out[0] = finite > 0 ? least : none;
  out[1] = finite > 0 ? most : none;
  out[2] = finite > 0 ? sum / finite : none;
  out[3] = finite > 0 ? std::sqrt(squares / finite) : none;
  out[4] = finite > 0 ? std::max(std::fabs(least), std::fabs(most)) : none;
  out[5] = nan;
  out[6] = infinite;
}

void storeFloat(double* out, const FloatSums& sums, size_t columns) {
  double sum = 0, squares = 0, notFinite = 0, nan = 0;
  for (size_t lane = 0; lane < lanes; lane++) {
    sum += sums.sum[lane];
    squares += sums.squares[lane];
    notFinite += sums.notFinite[lane];
    nan += sums.nan[lane];
  }
  store(out, *std::min_element(sums.least, sums.least + lanes), *std::max_element(sums.most, sums.most + lanes), sum, squares, nan,
        notFinite - nan, columns);
}

float widenBf16(uint16_t half) { return FloatSums::fromBits(static_cast<uint32_t>(half) << 16); }

// By scaling instead of by cases, so that it stays branch-free: subnormals become right by the
// multiplication, infinities and NaN keep the highest exponent.
float widenF16(uint16_t half) {
  const uint32_t magnitude = (half & 0x7fffu) << 13;
  const float scaled = FloatSums::fromBits(magnitude) * 0x1p112f;
  uint32_t bits;
  std::memcpy(&bits, &scaled, sizeof bits);
  const uint32_t special = magnitude >= 0x0f800000 ? ~0u : 0u;
  bits = (bits & ~special) | ((magnitude | 0x7f800000) & special);
  return FloatSums::fromBits(bits | (static_cast<uint32_t>(half & 0x8000u) << 16));
}

void floatRow(const uint8_t* row, size_t columns, double* out) {
  FloatSums sums;
  float values[chunk];
  for (size_t i = 0; i < columns; i += chunk) {
    const size_t count = std::min(chunk, columns - i);
    std::memcpy(values, row + i * sizeof(float), count * sizeof(float));  // rows of a file need not be aligned
    sums.add(values, count);
  }
  storeFloat(out, sums, columns);
}

template <float (*Widen)(uint16_t)>
void halfRow(const uint8_t* row, size_t columns, double* out) {
  FloatSums sums;
  uint16_t halves[chunk];
  float values[chunk];
  for (size_t i = 0; i < columns; i += chunk) {
    const size_t count = std::min(chunk, columns - i);
    std::memcpy(halves, row + i * sizeof(uint16_t), count * sizeof(uint16_t));
    for (size_t j = 0; j < count; j++) values[j] = Widen(halves[j]);
    sums.add(values, count);
  }
  storeFloat(out, sums, columns);
}

void integerRow(const uint8_t* row, size_t columns, double* out) {
  int32_t least = std::numeric_limits<int32_t>::max();
  int32_t most = std::numeric_limits<int32_t>::min();
  double sum = 0, squares = 0;
  for (size_t i = 0; i < columns; i++) {
    int32_t value;
    std::memcpy(&value, row + i * sizeof value, sizeof value);
    least = std::min(least, value);
    most = std::max(most, value);
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  store(out, least, most, sum, squares, 0, 0, columns);
}

using RowFunction = void (*)(const uint8_t*, size_t, double*);

RowFunction rowFunction(const char* op, int64_t type) {
  switch (type) {
    case GGML_TYPE_F32: return floatRow;
    case GGML_TYPE_F16: return halfRow<widenF16>;
    case GGML_TYPE_BF16: return halfRow<widenBf16>;
    case GGML_TYPE_I32: return integerRow;
    default: fail("DTYPE_UNSUPPORTED", op, "expected F32, F16, BF16 or I32, got ggml type " + std::to_string(type));
  }
}

// One entry of the list.
struct Rows {
  RowFunction function;
  const uint8_t* data;
  size_t rows;
  size_t columns;
  size_t rowSize;
  double* out;
  std::shared_ptr<Memory> lender;

  void run() const {
    for (size_t row = 0; row < rows; row++) function(data + row * rowSize, columns, out + row * valuesPerRow);
  }
};

}  // namespace

Napi::Value rowStats(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "rowStats", 1);
  const Napi::Array items = arguments.list(0, "items");
  const Napi::Array results = Napi::Array::New(info.Env(), items.Length());
  // One list keeps all of it from being collected: a reference for each would cost more than the work on
  // short rows.
  const Napi::Array kept = Napi::Array::New(info.Env(), 2 * items.Length());
  std::vector<Rows> work;
  for (uint32_t i = 0; i < items.Length(); i++) {
    const Napi::Value value = items.Get(i);
    if (!value.IsObject()) arguments.reject("items", "objects {bytes, type, columns}", value);
    const Napi::Object item = value.As<Napi::Object>();
    const Napi::Value array = item.Get("bytes");
    if (!array.IsTypedArray() || array.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
      arguments.reject("bytes", "a Uint8Array", array);
    const Napi::Uint8Array bytes = array.As<Napi::Uint8Array>();
    const auto type = static_cast<ggml_type>(arguments.checkInteger(item.Get("type"), "type", 0, GGML_TYPE_COUNT - 1));
    const RowFunction function = rowFunction(arguments.op(), type);
    const auto columns = static_cast<size_t>(arguments.checkInteger(item.Get("columns"), "columns", 1, maxSafeInteger / 8));
    const size_t rowSize = columns * ggml_type_size(type);
    if (bytes.ByteLength() % rowSize != 0)
      fail("BAD_ARGUMENT", arguments.op(),
           "expected whole rows of " + std::to_string(rowSize) + " bytes, got " + std::to_string(bytes.ByteLength()) + " bytes");
    const size_t rows = bytes.ByteLength() / rowSize;
    const Napi::Float64Array result = Napi::Float64Array::New(info.Env(), rows * valuesPerRow);
    results.Set(i, result);
    kept.Set(2 * i, bytes);
    kept.Set(2 * i + 1, result);
    work.push_back({function, bytes.Data(), rows, columns, rowSize, Napi::Float64Array(result).Data(),
                    Instance::of(info.Env()).lenderOf(bytes.Data())});
  }
  const auto run = [work = std::move(work)] {
    for (const Rows& rows : work) rows.run();
  };
  return Task::start(arguments, run, {kept}, results);
}

}  // namespace zayascope
