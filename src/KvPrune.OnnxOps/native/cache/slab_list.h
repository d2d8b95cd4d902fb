#ifndef KVPRUNE_CACHE_SLAB_LIST_H_
#define KVPRUNE_CACHE_SLAB_LIST_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/tile_slab.h"

namespace kvprune {

// One layer's slabs, oldest first, found by token or by one head's tile. Every head counts its own tiles over
// all slabs, and the rows in them. Lists that a sequence and its checkpoints share never change.
class SlabList {
 public:
  struct Entry {
    std::shared_ptr<const TileSlab> slab;
    int64_t first_token;  // of the sequence
    bool prompt;          // sealed at a prompt's end, in part at least
  };

  explicit SlabList(int kv_heads) : kv_heads_(kv_heads) {}

  size_t size() const { return entries_.size(); }
  int kv_heads() const { return kv_heads_; }
  // Of all slabs.
  int64_t bytes() const { return bytes_; }
  const Entry& operator[](size_t index) const { return entries_[index]; }
  std::vector<Entry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<Entry>::const_iterator end() const { return entries_.end(); }

  int64_t Tiles(int kv_head) const {
    return entries_.empty() ? 0 : FirstTile(kv_head, size() - 1) + entries_.back().slab->tiles(kv_head);
  }
  // The head's tiles before those of an entry.
  int64_t FirstTile(int kv_head, size_t index) const {
    return first_tiles_[index * static_cast<size_t>(kv_heads_) + static_cast<size_t>(kv_head)];
  }

  // The entry that holds the head's `tile`, size() when there is none.
  size_t Find(int kv_head, int64_t tile) const {
    if (tile >= Tiles(kv_head)) return size();
    return LastOf([&](size_t index) { return FirstTile(kv_head, index) <= tile; });
  }

  // The head's rows of the sequence's tokens before `token`.
  int64_t RowsBefore(int kv_head, int64_t token) const {
    if (token <= 0 || entries_.empty()) return 0;
    const size_t index = LastOf([&](size_t i) { return entries_[i].first_token <= token; });
    const Entry& entry = entries_[index];
    const int64_t inside = std::clamp<int64_t>(token - entry.first_token, 0, entry.slab->tokens());
    return FirstTile(kv_head, index) * kTileTokens + entry.slab->RowsBefore(kv_head, inside);
  }

  // Of the slabs that `newer`, a list which this one became, has not.
  int64_t BytesNotIn(const SlabList& newer) const {
    if (this == &newer) return 0;
    int64_t bytes = 0;
    for (const Entry& entry : entries_) {
      const size_t index =
          newer.LastOf([&](size_t i) { return newer.entries_[i].first_token <= entry.first_token; });
      if (index >= newer.size() || newer.entries_[index].slab != entry.slab) bytes += entry.slab->bytes();
    }
    return bytes;
  }

  // A copy with room for one more.
  std::shared_ptr<SlabList> Copy() const {
    auto copy = std::make_shared<SlabList>(kv_heads_);
    copy->Reserve(size() + 1);
    for (const Entry& entry : entries_) copy->Add(entry.slab, entry.prompt);
    return copy;
  }
  // A copy with room for one more and `slab` in place of the `count` slabs from the `first`-th on, whose
  // tokens it covers.
  std::shared_ptr<SlabList> Replaced(size_t first, size_t count, std::shared_ptr<const TileSlab> slab) const {
    auto copy = std::make_shared<SlabList>(kv_heads_);
    copy->Reserve(size() - count + 2);
    for (size_t i = 0; i < first; ++i) copy->Add(entries_[i].slab, entries_[i].prompt);
    const std::span<const Entry> replaced(entries_.data() + first, count);
    copy->Add(std::move(slab),
              std::any_of(replaced.begin(), replaced.end(), [](const Entry& entry) { return entry.prompt; }));
    for (size_t i = first + count; i < size(); ++i) copy->Add(entries_[i].slab, entries_[i].prompt);
    return copy;
  }
  // Allocates nothing where there is room.
  void Add(std::shared_ptr<const TileSlab> slab, bool prompt) {
    for (int head = 0; head < kv_heads_; ++head) {
      const int64_t first = Tiles(head);
      first_tiles_.push_back(first);
    }
    const int64_t token = Tokens();
    bytes_ += slab->bytes();
    entries_.push_back({std::move(slab), token, prompt});
  }

 private:
  void Reserve(size_t count) {
    entries_.reserve(count);
    first_tiles_.reserve(count * static_cast<size_t>(kv_heads_));
  }

  int64_t Tokens() const {
    return entries_.empty() ? 0 : entries_.back().first_token + entries_.back().slab->tokens();
  }

  // The last entry for which `holds`, which does for the first ones, and for one at least.
  template <class Holds>
  size_t LastOf(const Holds& holds) const {
    size_t low = 0, high = entries_.size();
    while (high - low > 1) {
      const size_t middle = low + (high - low) / 2;
      (holds(middle) ? low : high) = middle;
    }
    return low;
  }

  int kv_heads_;
  int64_t bytes_ = 0;
  std::vector<Entry> entries_;
  std::vector<int64_t> first_tiles_;  // [entries, kv_heads]
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SLAB_LIST_H_
