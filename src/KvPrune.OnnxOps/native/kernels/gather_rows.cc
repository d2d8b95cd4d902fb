#include "kernels/gather_rows.h"

#include <cstring>

namespace kvprune {
namespace {

constexpr int kVectorLanes = 16;
constexpr size_t kMostElements = static_cast<size_t>(kTileTokens) * kMaxHeadSize;
constexpr size_t kScaleBytes = 2;

// The elements of a section in vector order, with those that a bitmap leaves out: per block of lanes
// [groups of steps, lanes, steps of a group]. Element is unsigned and as wide as an element, or a byte that
// says whether there is one.
template <class Element, int kSteps>
struct Plane {
  int lanes;   // of a block
  int groups;  // of a block
  int blocks;

  // Lanes are tokens: K.
  void MoveLane(const Element* from, int source, Element* to, int target) const {
    from += Lane(source);
    to += Lane(target);
    for (int group = 0; group < groups; ++group, from += lanes * kSteps, to += lanes * kSteps)
      std::memcpy(to, from, kSteps * sizeof(Element));
  }

  // Steps are tokens: V.
  void MoveStep(const Element* from, int source, Element* to, int target) const {
    from += Step(source);
    to += Step(target);
    for (int block = 0; block < blocks; ++block, from += BlockElements(), to += BlockElements())
      for (int lane = 0; lane < lanes; ++lane) to[lane * kSteps] = from[lane * kSteps];
  }

 private:
  int BlockElements() const { return groups * lanes * kSteps; }
  int Lane(int lane) const { return lane / lanes * BlockElements() + lane % lanes * kSteps; }
  int Step(int step) const { return step / kSteps * lanes * kSteps + step % kSteps; }
};

// Bits of a mask from bytes that are 0 or 1.
template <int kBits>
uint64_t MaskOf(const uint8_t* kept) {
  uint64_t mask = 0;
  for (int i = 0; i < kBits; i += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, kept + i, sizeof(bytes));
    mask |= (bytes * 0x0102040810204080u >> 56) << i;
  }
  return mask;
}

template <class Element, int kSteps>
class SectionMover {
 public:
  SectionMover(const TileSection& section, bool tokens_are_lanes, uint8_t* tile)
      : section_(section), tokens_are_lanes_(tokens_are_lanes), tile_(tile) {
    // The two halves of a dense int4 group share bytes, which all are of one token.
    const int lanes = section.per_step_scales() ? kVectorLanes : kBlockLanes;
    const int groups = section.reduction / kSteps, blocks = section.lanes / kBlockLanes;
    elements_ = {lanes, groups, blocks};
    kept_ = {lanes, groups, blocks};
  }

  void Run(const TileRow* rows) {
    const bool bitmap = section_.bitmap;
    if (bitmap) std::memset(target_kept_, 0, section_.lanes * section_.reduction);
    auto* target = bitmap ? target_ : reinterpret_cast<Element*>(tile_ + section_.value_offset);
    const uint8_t* open = nullptr;
    for (int row = 0; row < kTileTokens; ++row) {
      const uint8_t* tile = rows[row].tile;
      const int from = rows[row].row;
      MoveScales(tile, from, row);
      if (!bitmap) {
        Move(elements_, reinterpret_cast<const Element*>(tile + section_.value_offset), from, target, row);
        continue;
      }
      if (tile != open) Expand(tile);
      open = tile;
      Move(elements_, source_, from, target, row);
      Move(kept_, source_kept_, from, target_kept_, row);
    }
    if (bitmap) Compress();
  }

 private:
  static constexpr int kVectorElements = kVectorLanes * kSteps;
  static constexpr size_t kMaskBytes = kVectorElements / 8;

  template <class Any>
  void Move(const Plane<Any, kSteps>& plane, const Any* from, int source, Any* to, int target) const {
    if (tokens_are_lanes_)
      plane.MoveLane(from, source, to, target);
    else
      plane.MoveStep(from, source, to, target);
  }

  void MoveScales(const uint8_t* from, int source, int target) const {
    const auto move = [&](size_t offset) {
      std::memcpy(tile_ + offset + target * kScaleBytes, from + offset + source * kScaleBytes, kScaleBytes);
    };
    if (section_.per_token_scales()) move(section_.scale_offset);
    for (int lane = 0; section_.per_step_scales() && lane < section_.lanes; lane += kInt4GroupLanes) {
      move(section_.step_scale_offset(lane));
      move(section_.step_zero_offset(lane));
    }
  }

  int Vectors() const { return section_.lanes * section_.reduction / kVectorElements; }
  bool nibbles() const { return section_.storage == Storage::kInt4; }

  void Expand(const uint8_t* tile) {
    const uint8_t* masks = tile + section_.mask_offset;
    const uint8_t* values = tile + section_.value_offset;
    std::memset(source_kept_, 0, section_.lanes * section_.reduction);
    int64_t read = 0;
    for (int vector = 0; vector < Vectors(); ++vector, masks += kMaskBytes) {
      uint64_t mask = 0;
      std::memcpy(&mask, masks, kMaskBytes);
      for (; mask != 0; mask &= mask - 1, ++read) {
        const int element = vector * kVectorElements + __builtin_ctzll(mask);
        source_kept_[element] = 1;
        if (nibbles())
          source_[element] = static_cast<Element>(values[read / 2] >> (read % 2 * 4) & 15);
        else
          std::memcpy(source_ + element, values + read * sizeof(Element), sizeof(Element));
      }
    }
  }

  // Onto zeros.
  void Compress() {
    uint8_t* masks = tile_ + section_.mask_offset;
    uint8_t* values = tile_ + section_.value_offset;
    int64_t written = 0;
    for (int vector = 0; vector < Vectors(); ++vector, masks += kMaskBytes) {
      uint64_t mask = MaskOf<kVectorElements>(target_kept_ + vector * kVectorElements);
      std::memcpy(masks, &mask, kMaskBytes);
      for (; mask != 0; mask &= mask - 1, ++written) {
        const Element element = target_[vector * kVectorElements + __builtin_ctzll(mask)];
        if (nibbles())
          values[written / 2] |= static_cast<uint8_t>(element << (written % 2 * 4));
        else
          std::memcpy(values + written * sizeof(Element), &element, sizeof(Element));
      }
    }
  }

  const TileSection& section_;
  const bool tokens_are_lanes_;
  uint8_t* const tile_;
  Plane<Element, kSteps> elements_;
  Plane<uint8_t, kSteps> kept_;
  Element source_[kMostElements];
  Element target_[kMostElements];
  uint8_t source_kept_[kMostElements];
  uint8_t target_kept_[kMostElements];
};

template <class Element, int kSteps>
void GatherAs(const TileSection& section, bool tokens_are_lanes, const TileRow* rows, uint8_t* tile) {
  SectionMover<Element, kSteps>(section, tokens_are_lanes, tile).Run(rows);
}

void GatherSection(const TileSection& section, bool tokens_are_lanes, const TileRow* rows, uint8_t* tile) {
  switch (section.storage) {
    case Storage::kFloat32:
      return GatherAs<uint32_t, 1>(section, tokens_are_lanes, rows, tile);
    case Storage::kBFloat16:
    case Storage::kFloat16:
      return GatherAs<uint16_t, 2>(section, tokens_are_lanes, rows, tile);
    case Storage::kInt8:
    case Storage::kInt4:
      return GatherAs<uint8_t, 4>(section, tokens_are_lanes, rows, tile);
  }
}

}  // namespace

bool RowsCanMove(const TileFormat& format) {
  return !format.key.per_step_scales() && format.key.row_nonzeros > 0 && format.value.row_nonzeros > 0;
}

void GatherRows(const TileFormat& format, const TileRow* rows, uint8_t* tile) {
  std::memset(tile, 0, format.stride);
  GatherSection(format.key, true, rows, tile);
  GatherSection(format.value, false, rows, tile);
}

}  // namespace kvprune
