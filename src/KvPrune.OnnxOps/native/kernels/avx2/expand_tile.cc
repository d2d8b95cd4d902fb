#include <immintrin.h>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/block_reader.h"
#include "kernels/avx2/dense_tile.h"
#include "kernels/avx2/vector_math.h"

namespace kvprune::avx2 {
namespace {

// What multiplies the elements of a block, and what is added to them: numbers of its lanes, or of its steps
// where there are none.
struct BlockScales {
  const float* lanes;  // [32]
  const float* steps;
  const float* zeros;  // of steps; dense int4 only
};

// Step `sub` of a vector's words as floats.
template <int kSteps>
inline __m256 StepFloats(__m256i words, int sub) {
  if constexpr (kSteps == 1) {
    return _mm256_castsi256_ps(words);
  } else if constexpr (kSteps == 2) {
    return _mm256_castsi256_ps(
        sub == 0 ? _mm256_slli_epi32(words, 16)
                 : _mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  } else {
    const __m256i top = _mm256_sll_epi32(words, _mm_cvtsi32_si128(24 - 8 * sub));
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(top, 24));
  }
}

// One block of 32 lanes with kSteps steps to a word, of which the first `present` lanes are real.
template <int kSteps>
void ExpandBlock(const uint8_t* vectors, int steps, int present, const BlockScales& scales, float* out) {
  __m256i real[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    real[v] =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(present - 8 * v), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  for (int step = 0; step < steps; ++step, out += kBlockLanes) {
    const uint8_t* words = vectors + static_cast<ptrdiff_t>(step / kSteps) * 128;
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      __m256 floats = StepFloats<kSteps>(Load(words + 32 * v), step % kSteps);
      if (kSteps == 4 && scales.zeros != nullptr) {
        floats = _mm256_fmadd_ps(_mm256_add_ps(floats, _mm256_set1_ps(8.0f)),
                                 _mm256_broadcast_ss(scales.steps + step),
                                 _mm256_broadcast_ss(scales.zeros + step));
        // A zero point makes something of padding too.
        floats = _mm256_and_ps(floats, _mm256_castsi256_ps(real[v]));
      } else if (kSteps == 4) {
        floats = _mm256_mul_ps(floats, scales.lanes == nullptr ? _mm256_broadcast_ss(scales.steps + step)
                                                               : _mm256_loadu_ps(scales.lanes + 8 * v));
      }
      _mm256_storeu_ps(out + 8 * v, floats);
    }
  }
}

void ExpandBlock(Storage storage, const uint8_t* vectors, int steps, int present, const BlockScales& scales,
                 float* out) {
  switch (storage) {
    case Storage::kFloat32:
    case Storage::kFloat16:  // which the reader widens
      return ExpandBlock<1>(vectors, steps, present, scales, out);
    case Storage::kBFloat16:
      return ExpandBlock<2>(vectors, steps, present, scales, out);
    case Storage::kInt8:
    case Storage::kInt4:
      return ExpandBlock<4>(vectors, steps, present, scales, out);
  }
}

// The scales, or zeros, of `count` tokens or steps; `count` is a multiple of 4.
void WidenScales(const uint8_t* from, int count, float* to) {
  for (int i = 0; i < count; i += 4)
    _mm_storeu_ps(to + i,
                  _mm256_castps256_ps128(WidenBFloat16(LoadQuarter(from + 2 * static_cast<ptrdiff_t>(i)))));
}

// One section, block by block: `steps` of the reduction and `lanes` that are not padding.
void ExpandSection(const TileSection& section, const uint8_t* tile, size_t stride, bool tokens_are_lanes,
                   int steps, int lanes, float* expanded) {
  alignas(64) uint8_t scratch[kMaxHeadSize * kBlockLanes * 4];
  alignas(32) float scales[kMaxHeadSize], zeros[kMaxHeadSize];
  if (section.per_token_scales()) WidenScales(tile + section.scale_offset, kTileTokens, scales);
  BlockReader reader(section, tile, stride, scratch);
  for (int lane = 0; lane < section.lanes; lane += kBlockLanes) {
    if (section.per_step_scales() && lane % kInt4GroupLanes == 0) {
      WidenScales(tile + section.step_scale_offset(lane), section.reduction, scales);
      WidenScales(tile + section.step_zero_offset(lane), section.reduction, zeros);
    }
    const bool by_lane = section.per_token_scales() && tokens_are_lanes;
    const BlockScales block{by_lane ? scales + lane : nullptr, scales,
                            section.per_step_scales() ? zeros : nullptr};
    ExpandBlock(section.storage, reader.Next(), steps, lanes - lane, block, expanded);
    expanded += static_cast<ptrdiff_t>(steps) * kBlockLanes;
  }
}

}  // namespace

void ExpandTile(const TileFormat& format, const uint8_t* tile, float* expanded) {
  ExpandSection(format.key, tile, format.stride, true, format.key_channels, kTileTokens, expanded);
  ExpandSection(format.value, tile, format.stride, false, kTileTokens, format.value_channels,
                expanded + static_cast<ptrdiff_t>(kTileTokens) * format.key_channels);
}

void ExpandRows(const float* keys, const float* values, int rows, int head_size, float* expanded) {
  for (int token = 0; token < kTileTokens; token += 8) {
    // Vectors of 8 tokens: block token / 32, quarter token / 8 % 4.
    float* out = expanded + static_cast<ptrdiff_t>(token / 32) * head_size * kBlockLanes + token % 32;
    for (int channel = 0; channel < head_size; channel += 8) {
      __m256i square[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        square[i] = token + i < rows ? Load(keys + static_cast<ptrdiff_t>(token + i) * head_size + channel)
                                     : _mm256_setzero_si256();
      }
      Transpose8(square);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) Store(out + static_cast<ptrdiff_t>(channel + i) * kBlockLanes, square[i]);
    }
  }
  expanded += static_cast<ptrdiff_t>(kTileTokens) * head_size;
  for (int first = 0; first < head_size; first += kBlockLanes) {
    for (int token = 0; token < kTileTokens; ++token) {
      for (int channel = first; channel < first + kBlockLanes; channel += 8, expanded += 8) {
        const bool present = token < rows && channel < head_size;
        Store(expanded, present ? Load(values + static_cast<ptrdiff_t>(token) * head_size + channel)
                                : _mm256_setzero_si256());
      }
    }
  }
}

}  // namespace kvprune::avx2
