#include <immintrin.h>

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/block_reader.h"
#include "kernels/avx512/dense_tile.h"

namespace kvprune::avx512 {
namespace {

// Step `sub` of a vector's words as floats.
template <Storage kStorage>
inline __m512 StepFloats(__m512i words, int sub) {
  if constexpr (kStorage == Storage::kFloat32) {
    return _mm512_castsi512_ps(words);
  } else if constexpr (kStorage == Storage::kBFloat16) {
    return _mm512_castsi512_ps(
        sub == 0 ? _mm512_slli_epi32(words, 16)
                 : _mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  } else if constexpr (kStorage == Storage::kFloat16) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(sub == 0 ? words : _mm512_srli_epi32(words, 16)));
  } else {
    return _mm512_cvtepi32_ps(
        _mm512_srai_epi32(_mm512_sllv_epi32(words, _mm512_set1_epi32(24 - 8 * sub)), 24));
  }
}

// One block of 32 lanes: lane l of step s times lane_scales[l] or, where that is null, step_scales[s]. (Only
// int8 has scales; int4 bitmaps are read as int8.)
template <Storage kStorage>
inline void ExpandBlock(const uint8_t* vectors, int steps, const __m512* lane_scales,
                        const float* step_scales, float* out) {
  constexpr int kSteps = Interleave(kStorage);
  for (int step = 0; step < steps; step += kSteps, vectors += 128) {
    const __m512i left = LoadOnce(vectors);
    const __m512i right = LoadOnce(vectors + 64);
#pragma GCC unroll 4
    for (int sub = 0; sub < kSteps; ++sub) {
      if (step + sub == steps) return;
      __m512 floats[2] = {StepFloats<kStorage>(left, sub), StepFloats<kStorage>(right, sub)};
      if constexpr (kStorage == Storage::kInt8) {
        const __m512 scale = _mm512_set1_ps(lane_scales == nullptr ? step_scales[step + sub] : 0.0f);
        floats[0] = _mm512_mul_ps(floats[0], lane_scales == nullptr ? scale : lane_scales[0]);
        floats[1] = _mm512_mul_ps(floats[1], lane_scales == nullptr ? scale : lane_scales[1]);
      }
      _mm512_store_ps(out, floats[0]);
      _mm512_store_ps(out + 16, floats[1]);
      out += kBlockLanes;
    }
  }
}

inline void ExpandBlock(Storage storage, const uint8_t* vectors, int steps, const __m512* lane_scales,
                        const float* step_scales, float* out) {
  switch (storage) {
    case Storage::kFloat32:
      return ExpandBlock<Storage::kFloat32>(vectors, steps, lane_scales, step_scales, out);
    case Storage::kBFloat16:
      return ExpandBlock<Storage::kBFloat16>(vectors, steps, lane_scales, step_scales, out);
    case Storage::kFloat16:
      return ExpandBlock<Storage::kFloat16>(vectors, steps, lane_scales, step_scales, out);
    case Storage::kInt8:
    case Storage::kInt4:
      return ExpandBlock<Storage::kInt8>(vectors, steps, lane_scales, step_scales, out);
  }
}

inline float BFloat16At(const uint8_t* from) {
  uint16_t bits;
  __builtin_memcpy(&bits, from, 2);
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  __builtin_memcpy(&value, &word, 4);
  return value;
}

// One block of a dense int4 section, of which `present` lanes are real: a zero point makes something of
// padding too.
inline void ExpandInt4Block(const TileSection& section, const uint8_t* tile, const uint8_t* vectors, int lane,
                            int steps, int present, float* out) {
  const uint8_t* scales = tile + section.step_scale_offset(lane);
  const uint8_t* zeros = tile + section.step_zero_offset(lane);
  const __m512i low_bits = _mm512_set1_epi32(15);
  const __mmask16 masks[2] = {FirstLanes(present), FirstLanes(present - 16)};
  for (int step = 0; step < steps; ++step, out += kBlockLanes) {
    const __m512i words = _mm512_loadu_si512(vectors + static_cast<ptrdiff_t>(step / 4) * 64);
    const __m512 scale = _mm512_set1_ps(BFloat16At(scales + 2 * static_cast<ptrdiff_t>(step)));
    const __m512 zero = _mm512_set1_ps(BFloat16At(zeros + 2 * static_cast<ptrdiff_t>(step)));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i shift = _mm512_set1_epi32(step % 4 * 8 + 4 * half);
      const __m512 numbers = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srlv_epi32(words, shift), low_bits));
      _mm512_store_ps(out + 16 * half, _mm512_maskz_fmadd_ps(masks[half], numbers, scale, zero));
    }
  }
}

}  // namespace

void ExpandTile(const TileFormat& format, const uint8_t* tile, float* expanded) {
  alignas(64) uint8_t scratch[kMaxHeadSize * kBlockLanes * 4];
  BlockReader keys(format.key, tile, format.stride, scratch);
  for (int token = 0; token < kTileTokens; token += kBlockLanes) {
    const uint8_t* vectors = keys.Next();
    if (format.key.per_step_scales()) {
      ExpandInt4Block(format.key, tile, vectors, token, format.key_channels, kBlockLanes, expanded);
    } else {
      __m512 scales[2] = {};
      if (format.key.per_token_scales()) {
        const uint8_t* from = tile + format.key.scale_offset + 2 * token;
        scales[0] = WidenBFloat16(from);
        scales[1] = WidenBFloat16(from + 32);
      }
      ExpandBlock(format.key.storage, vectors, format.key_channels, scales, nullptr, expanded);
    }
    expanded += format.key_channels * kBlockLanes;
  }

  alignas(64) float scales[kTileTokens] = {};
  if (format.value.per_token_scales()) {
    for (int token = 0; token < kTileTokens; token += 16)
      _mm512_store_ps(scales + token, WidenBFloat16(tile + format.value.scale_offset + 2 * token));
  }
  BlockReader values(format.value, tile, format.stride, scratch);
  for (int channel = 0; channel < format.value.lanes; channel += kBlockLanes) {
    const uint8_t* vectors = values.Next();
    if (format.value.per_step_scales())
      ExpandInt4Block(format.value, tile, vectors, channel, kTileTokens, format.value_channels - channel,
                      expanded);
    else
      ExpandBlock(format.value.storage, vectors, kTileTokens, nullptr, scales, expanded);
    expanded += kTileTokens * kBlockLanes;
  }
}

void ExpandRows(const float* keys, const float* values, int rows, int head_size, float* expanded) {
  TransposeKeys(reinterpret_cast<const uint8_t*>(keys), rows, head_size,
                reinterpret_cast<uint8_t*>(expanded));
  BlockFloatValues(reinterpret_cast<const uint8_t*>(values), rows, head_size,
                   reinterpret_cast<uint8_t*>(expanded + kTileTokens * head_size));
}

}  // namespace kvprune::avx512
