#ifndef KVPRUNE_CACHE_ERROR_BUDGET_H_
#define KVPRUNE_CACHE_ERROR_BUDGET_H_

#include <memory>

#include "cache/seal_head.h"

namespace kvprune {

// Lets `sealing` use the settings that take the fewest bytes with a HeadError within policy.output_error;
// where none do, those that keep most. `error` is what they have.
Status ChooseWithinError(const std::shared_ptr<MemoryAccount>& account, const Policy& policy, int kv_head,
                         HeadSealing* sealing, float* error);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_ERROR_BUDGET_H_
