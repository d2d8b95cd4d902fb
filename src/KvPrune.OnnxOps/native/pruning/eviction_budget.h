#ifndef KVPRUNE_PRUNING_EVICTION_BUDGET_H_
#define KVPRUNE_PRUNING_EVICTION_BUDGET_H_

#include <cstdint>

#include "pruning/policy.h"

namespace kvprune {

// How many of the `leaving` oldest of `tokens` tokens the KV heads of `layer`, one of `layers`, keep on
// average, before rounding to whole tiles: all of them without an eviction.
int64_t LeavingToKeep(const Policy& policy, int layers, int layer, int64_t tokens, int64_t leaving);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_EVICTION_BUDGET_H_
