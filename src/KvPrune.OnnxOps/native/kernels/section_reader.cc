#include "kernels/section_reader.h"

#include <cstring>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

namespace kvprune {
namespace {

constexpr int kVectorLanes = 16;

template <class T>
T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

struct Float32Element {
  static constexpr int kInterleave = 1;
  using Mask = uint16_t;
  static float Read(const uint8_t* from) { return Load<float>(from); }
};

struct BFloat16Element {
  static constexpr int kInterleave = 2;
  using Mask = uint32_t;
  static float Read(const uint8_t* from) { return BFloat16ToFloat(Load<uint16_t>(from)); }
};

struct Float16Element {
  static constexpr int kInterleave = 2;
  using Mask = uint32_t;
  static float Read(const uint8_t* from) { return Float16ToFloat(Load<uint16_t>(from)); }
};

struct Int8Element {
  static constexpr int kInterleave = 4;
  using Mask = uint64_t;
  static float Read(const uint8_t* from) { return static_cast<float>(Load<int8_t>(from)); }
};

template <class Element>
void ReadDense(int reduction, const uint8_t** values, float* elements) {
  constexpr int kBytes = 4 / Element::kInterleave;
  const uint8_t* from = *values;
  for (int step = 0; step < reduction;
       step += Element::kInterleave, elements += Element::kInterleave * kBlockLanes) {
    for (int lane = 0; lane < kBlockLanes; ++lane, from += 4) {
      for (int sub = 0; sub < Element::kInterleave; ++sub) {
        elements[sub * kBlockLanes + lane] = Element::Read(from + sub * kBytes);
      }
    }
  }
  *values = from;
}

template <class Element>
void ReadBitmap(int reduction, const uint8_t** masks, const uint8_t** values, float* elements) {
  constexpr int kBytes = 4 / Element::kInterleave;
  using Mask = typename Element::Mask;
  std::memset(elements, 0, sizeof(float) * kBlockLanes * reduction);
  for (int step = 0; step < reduction;
       step += Element::kInterleave, elements += Element::kInterleave * kBlockLanes) {
    for (int half = 0; half < kBlockLanes; half += kVectorLanes) {
      uint64_t mask = Load<Mask>(*masks);
      *masks += sizeof(Mask);
      for (; mask != 0; mask &= mask - 1) {
        const int bit = __builtin_ctzll(mask);
        elements[bit % Element::kInterleave * kBlockLanes + half + bit / Element::kInterleave] =
            Element::Read(*values);
        *values += kBytes;
      }
    }
  }
}

template <class Element>
void Read(const TileSection& section, const uint8_t** masks, const uint8_t** values, float* elements) {
  if (section.bitmap) {
    ReadBitmap<Element>(section.reduction, masks, values, elements);
  } else {
    ReadDense<Element>(section.reduction, values, elements);
  }
}

}  // namespace

void SectionReader::ReadBlock(float* elements) {
  switch (section_.storage) {
    case Storage::kFloat32:
      return Read<Float32Element>(section_, &masks_, &values_, elements);
    case Storage::kBFloat16:
      return Read<BFloat16Element>(section_, &masks_, &values_, elements);
    case Storage::kInt8:
      return Read<Int8Element>(section_, &masks_, &values_, elements);
    case Storage::kFloat16:
      return Read<Float16Element>(section_, &masks_, &values_, elements);
    case Storage::kInt4:
      return section_.bitmap ? ReadInt4Bitmap(elements) : ReadInt4(elements);
  }
}

void SectionReader::ReadInt4(float* elements) {
  const uint8_t* scales = tile_ + section_.step_scale_offset(lane_);
  const uint8_t* zeros = tile_ + section_.step_zero_offset(lane_);
  lane_ += kBlockLanes;
  for (int step = 0; step < section_.reduction; ++step) {
    const float scale = BFloat16ToFloat(Load<uint16_t>(scales + 2 * step));
    const float zero = BFloat16ToFloat(Load<uint16_t>(zeros + 2 * step));
    const uint8_t* bytes = values_ + static_cast<ptrdiff_t>(step / 4) * 4 * kVectorLanes + step % 4;
    for (int lane = 0; lane < kVectorLanes; ++lane) {
      const unsigned pair = bytes[4 * lane];
      elements[step * kBlockLanes + lane] = static_cast<float>(pair & 15u) * scale + zero;
      elements[step * kBlockLanes + kVectorLanes + lane] = static_cast<float>(pair >> 4) * scale + zero;
    }
  }
  values_ += static_cast<ptrdiff_t>(section_.reduction) * kVectorLanes;
}

void SectionReader::ReadInt4Bitmap(float* elements) {
  std::memset(elements, 0, sizeof(float) * kBlockLanes * section_.reduction);
  for (int step = 0; step < section_.reduction; step += 4, elements += 4 * kBlockLanes) {
    for (int half = 0; half < kBlockLanes; half += kVectorLanes) {
      uint64_t mask = Load<uint64_t>(masks_);
      masks_ += sizeof mask;
      for (; mask != 0; mask &= mask - 1, ++read_) {
        const int bit = __builtin_ctzll(mask);
        const int number = values_[read_ / 2] >> (read_ % 2 * 4) & 15;
        elements[bit % 4 * kBlockLanes + half + bit / 4] = static_cast<float>(number - 8);
      }
    }
  }
}

float SectionReader::Scale(int token) const {
  if (!section_.per_token_scales()) return 1.0f;
  return BFloat16ToFloat(Load<uint16_t>(tile_ + section_.scale_offset + static_cast<ptrdiff_t>(token) * 2));
}

}  // namespace kvprune
