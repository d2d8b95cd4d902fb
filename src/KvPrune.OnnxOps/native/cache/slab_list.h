#ifndef KVPRUNE_CACHE_SLAB_LIST_H_
#define KVPRUNE_CACHE_SLAB_LIST_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/tile_slab.h"

namespace kvprune {

// One layer's slabs, oldest first, found by token or by one head's tile: a long answer leaves one slab per 64
// tokens. Every head counts its own tiles over all slabs, and the rows in them.
class SlabList {
 public:
  struct Entry {
    std::shared_ptr<const TileSlab> slab;
    int64_t first_token;  // of the sequence
    bool prompt;          // sealed at a prompt's end
  };

  explicit SlabList(int kv_heads) : kv_heads_(kv_heads) {}

  size_t size() const { return entries_.size(); }
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

  // Makes room for one more.
  void Reserve() {
    if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 1);
    first_tiles_.reserve(entries_.capacity() * static_cast<size_t>(kv_heads_));
  }
  void Add(std::shared_ptr<const TileSlab> slab, bool prompt) {
    for (int head = 0; head < kv_heads_; ++head) {
      const int64_t first = Tiles(head);
      first_tiles_.push_back(first);
    }
    const int64_t token = Tokens();
    entries_.push_back({std::move(slab), token, prompt});
  }
  void KeepFirst(size_t count) {
    entries_.erase(entries_.begin() + count, entries_.end());
    first_tiles_.resize(count * static_cast<size_t>(kv_heads_));
  }

 private:
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
  std::vector<Entry> entries_;
  std::vector<int64_t> first_tiles_;  // [entries, kv_heads]
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SLAB_LIST_H_
