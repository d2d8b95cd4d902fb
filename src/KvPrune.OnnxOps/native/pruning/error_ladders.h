#ifndef KVPRUNE_PRUNING_ERROR_LADDERS_H_
#define KVPRUNE_PRUNING_ERROR_LADDERS_H_

#include <vector>

#include "pruning/policy.h"

namespace kvprune {

// The settings among which an error budget chooses. Each ladder goes from what keeps most to what keeps
// least, and what follows a setting that is beyond the budget is not tried: it would be as well.
using ErrorLadders = std::vector<std::vector<EntrySetting>>;

ErrorLadders KeyLadders(const Policy& policy);
ErrorLadders ValueLadders(const Policy& policy);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_ERROR_LADDERS_H_
