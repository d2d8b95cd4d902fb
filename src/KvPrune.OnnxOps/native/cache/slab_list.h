#ifndef KVPRUNE_CACHE_SLAB_LIST_H_
#define KVPRUNE_CACHE_SLAB_LIST_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/tile_slab.h"

namespace kvprune {

// One layer's slabs, oldest first, found by tile: a long answer leaves one slab per 64 tokens.
class SlabList {
 public:
  struct Entry {
    std::shared_ptr<const TileSlab> slab;
    int64_t first_tile;  // tiles before it
  };

  size_t size() const { return entries_.size(); }
  const Entry& operator[](size_t index) const { return entries_[index]; }
  std::vector<Entry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<Entry>::const_iterator end() const { return entries_.end(); }

  // The entry that holds `tile`, size() when there is none.
  size_t Find(int64_t tile) const {
    if (entries_.empty() || tile >= Tiles()) return entries_.size();
    const auto after = std::upper_bound(entries_.begin(), entries_.end(), tile,
                                        [](int64_t t, const Entry& entry) { return t < entry.first_tile; });
    return static_cast<size_t>(after - entries_.begin()) - 1;
  }

  // Makes room for one more.
  void Reserve() {
    if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 1);
  }
  void Add(std::shared_ptr<const TileSlab> slab) {
    const int64_t first = Tiles();
    entries_.push_back({std::move(slab), first});
  }
  void KeepFirst(size_t count) { entries_.erase(entries_.begin() + count, entries_.end()); }

 private:
  int64_t Tiles() const {
    return entries_.empty() ? 0 : entries_.back().first_tile + entries_.back().slab->tiles();
  }

  std::vector<Entry> entries_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SLAB_LIST_H_
