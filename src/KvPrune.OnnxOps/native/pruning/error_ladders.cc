#include "pruning/error_ladders.h"

#include <initializer_list>

namespace kvprune {
namespace {

// Fractions removed.
struct Removal {
  float channels;
  float elements;
};

// K: ThinK's channels, MUSTAFAR's elements, and elements of fewer channels. Which of them costs the least
// error at the same bytes differs from head to head: in a retrieval model elements do for most heads,
// channels for those whose queries leave many of them alone.
constexpr Removal kKeyChannels[] = {{0.1f, 0}, {0.2f, 0}, {0.3f, 0}, {0.4f, 0},
                                    {0.5f, 0}, {0.6f, 0}, {0.7f, 0}};
constexpr Removal kKeyElements[] = {{0, 0.2f}, {0, 0.3f}, {0, 0.4f}, {0, 0.5f},
                                    {0, 0.6f}, {0, 0.7f}, {0, 0.8f}};
constexpr Removal kKeyBoth[] = {{0.3f, 0.5f}, {0.5f, 0.5f}, {0.5f, 0.7f}};
// V: elements. Below 0.2 the bitmap takes what removing saves.
constexpr Removal kValueElements[] = {{0, 0.2f}, {0, 0.3f}, {0, 0.4f}, {0, 0.5f},
                                      {0, 0.6f}, {0, 0.7f}, {0, 0.8f}};

// Nothing removed, from the finest storage to the policy's.
std::vector<EntrySetting> Dense(Storage storage) {
  std::vector<EntrySetting> ladder;
  if (FinestStorage(storage) != storage) ladder.push_back({FinestStorage(storage), 0, 0});
  if (storage == Storage::kInt4) ladder.push_back({Storage::kInt8, 0, 0});
  ladder.push_back({storage, 0, 0});
  return ladder;
}

template <size_t kCount>
std::vector<EntrySetting> Sparse(Storage storage, const Removal (&removals)[kCount]) {
  std::vector<EntrySetting> ladder;
  for (const Removal& removal : removals) ladder.push_back({storage, removal.channels, removal.elements});
  return ladder;
}

}  // namespace

ErrorLadders KeyLadders(const Policy& policy) {
  const Storage storage = policy.key_storage;
  return {Dense(storage), Sparse(storage, kKeyChannels), Sparse(storage, kKeyElements),
          Sparse(storage, kKeyBoth)};
}

ErrorLadders ValueLadders(const Policy& policy) {
  return {Dense(policy.value_storage), Sparse(policy.value_storage, kValueElements)};
}

}  // namespace kvprune
