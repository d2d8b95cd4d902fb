#ifndef KVPRUNE_PRUNING_BUDGET_SEARCH_H_
#define KVPRUNE_PRUNING_BUDGET_SEARCH_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "cache/status.h"

namespace kvprune {

// One of K's or V's settings by its bytes. A setting's ladder is that of the settings around it with the same
// number; see ErrorLadders. The first setting is the one that keeps most.
struct BudgetOption {
  size_t bytes;
  int ladder;
};

// Stands for K or V as it is.
inline constexpr int kUntouched = -1;

struct BudgetChoice {
  int key;
  int value;
  double error;
};

// Finds the settings of K and V that take the fewest bytes with a relative output error within `budget`;
// where none do, the first of each.
//
// `measure` gives the error of a pair of settings. Errors of K and V hardly depend on each other: their
// squares add up. So K's are measured with V untouched and the other way round, not every pair; the pairs
// whose sum is within the budget are then measured from the fewest bytes on, until one is. A looser budget
// never chooses more bytes, as every pair that a tighter one allows comes into question, in the same order.
Status SearchBudget(const std::vector<BudgetOption>& keys, const std::vector<BudgetOption>& values,
                    double budget, const std::function<Status(int key, int value, double* error)>& measure,
                    BudgetChoice* choice);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_BUDGET_SEARCH_H_
