#ifndef KVPRUNE_TESTS_CACHE_RAGGED_FIXTURE_H_
#define KVPRUNE_TESTS_CACHE_RAGGED_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "cache/tile_slab.h"
#include "kernels/fixture.h"

namespace kvprune::test {

// What one KV head keeps of a slab's tokens, and how.
struct HeadPlan {
  TileCase tile;
  std::vector<int64_t> kept;  // tokens of the span, ascending; a multiple of 64

  HeadRun Run(int64_t span) const {
    return {tile.Format(), static_cast<int64_t>(kept.size()) / kTileTokens,
            static_cast<int64_t>(kept.size()) != span};
  }
};

// A format at random. `tiles` of `span` tokens are kept, -1: a number at random.
HeadPlan RandomPlan(int head_size, int64_t span, int tiles, std::mt19937* random);

// A slab of the planned runs; keys[head] and values[head] are the span's rows.
std::shared_ptr<TileSlab> PackSlab(const std::shared_ptr<MemoryAccount>& account, int64_t span,
                                   const std::vector<HeadPlan>& plans, const std::vector<Rows>& keys,
                                   const std::vector<Rows>& values);

// What one head's tiles hold according to the oracle: a row of head_size channels per kept token.
struct StoredRun {
  std::vector<std::vector<double>> keys;
  std::vector<std::vector<double>> values;
};
StoredRun Stored(const HeadPlan& plan, const Rows& keys, const Rows& values);

}  // namespace kvprune::test

#endif  // KVPRUNE_TESTS_CACHE_RAGGED_FIXTURE_H_
