#include "kernels/section_reader.h"

#include <cstring>

#include "kernels/bfloat16.h"

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
  }
}

float SectionReader::Scale(int token) const {
  return section_.storage == Storage::kInt8 ? BFloat16ToFloat(Load<uint16_t>(scales_ + 2 * token)) : 1.0f;
}

}  // namespace kvprune
