#include "kernels/scalar/quantise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/bfloat16.h"

namespace kvprune::scalar {
namespace {

constexpr uint32_t kMagnitude = 0x7fffffffu;
constexpr uint32_t kInfinity = 0x7f800000u;
constexpr uint16_t kNotANumber = 0x7fc0;

// value > 0 as a bfloat16 that is not smaller and no subnormal number.
uint16_t RoundUp(float value) {
  const float normal = std::max(value, std::numeric_limits<float>::min());
  return static_cast<uint16_t>((std::bit_cast<uint32_t>(normal) + 0xffffu) >> 16);
}

// The largest bfloat16 that is not above `value` and no subnormal number; may be -infinity.
uint16_t RoundDown(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & kMagnitude;
  const uint32_t smallest = std::bit_cast<uint32_t>(std::numeric_limits<float>::min());
  if (bits == magnitude || magnitude == 0)
    return static_cast<uint16_t>(magnitude < smallest ? 0 : magnitude >> 16);
  return static_cast<uint16_t>(0x8000u | (std::max(magnitude, smallest) + 0xffffu) >> 16);
}

uint16_t RowScale(uint32_t max_bits, float levels) {
  if (max_bits == 0) return 0;
  if (max_bits >= kInfinity) return max_bits > kInfinity ? kNotANumber : uint16_t{kInfinity >> 16};
  return RoundUp(std::bit_cast<float>(max_bits) / levels);
}

struct GroupScale {
  uint16_t scale;
  uint16_t zero;
};

GroupScale ScaleOf(float least, float largest, bool finite) {
  const uint16_t zero = RoundDown(least);
  const float range = largest - BFloat16ToFloat(zero);
  if (!finite || !std::isfinite(range)) return {kNotANumber, 0};
  return {range > 0 ? RoundUp(range / 15.0f) : uint16_t{0}, zero};
}

}  // namespace

void QuantiseRow(Storage storage, const float* row, int width, const uint8_t* kept, uint32_t* bits,
                 uint8_t* scale_at) {
  uint32_t max_bits = 0;
  for (int i = 0; i < width; ++i) {
    if (kept[i]) max_bits = std::max(max_bits, std::bit_cast<uint32_t>(row[i]) & kMagnitude);
  }
  const uint16_t scale_bits = RowScale(max_bits, storage == Storage::kInt4 ? 7.0f : 127.0f);
  std::memcpy(scale_at, &scale_bits, sizeof scale_bits);
  const float scale = BFloat16ToFloat(scale_bits);
  const bool usable = scale > 0 && std::isfinite(scale);
  for (int i = 0; i < width; ++i) {
    const int integer = usable && kept[i] ? static_cast<int>(std::lrintf(row[i] / scale)) : 0;
    bits[i] = storage == Storage::kInt4 ? static_cast<uint32_t>(integer + 8) : static_cast<uint8_t>(integer);
  }
}

void QuantiseGroups(const TileSection& section, bool tokens_are_lanes, int width, StoredRows* rows,
                    uint8_t* tile) {
  const int lanes = tokens_are_lanes ? kTileTokens : width;
  const int steps = tokens_are_lanes ? width : kTileTokens;
  for (int first = 0; first < section.lanes; first += kInt4GroupLanes) {
    const int end = std::min(first + kInt4GroupLanes, lanes);
    for (int step = 0; step < section.reduction; ++step) {
      const auto element = [&](int lane) -> uint32_t& {
        return tokens_are_lanes ? rows->bits[lane][step] : rows->bits[step][lane];
      };
      GroupScale group{0, 0};  // of padding
      if (step < steps) {
        float least = std::numeric_limits<float>::infinity(), largest = -least;
        bool finite = true;
        for (int lane = first; lane < end; ++lane) {
          const float value = std::bit_cast<float>(element(lane));
          least = std::min(least, value);
          largest = std::max(largest, value);
          finite = finite && std::isfinite(value);
        }
        group = ScaleOf(least, largest, finite);
      }
      std::memcpy(tile + section.step_scale_offset(first) + 2 * static_cast<size_t>(step), &group.scale, 2);
      std::memcpy(tile + section.step_zero_offset(first) + 2 * static_cast<size_t>(step), &group.zero, 2);
      const float scale = BFloat16ToFloat(group.scale), zero = BFloat16ToFloat(group.zero);
      for (int lane = first; lane < end; ++lane) {
        uint32_t& bits = element(lane);
        bits =
            scale > 0 ? static_cast<uint32_t>(std::lrintf((std::bit_cast<float>(bits) - zero) / scale)) : 0;
      }
    }
  }
}

}  // namespace kvprune::scalar
