#ifndef KVPRUNE_TESTS_NATIVE_KERNELS_ORACLE_H_
#define KVPRUNE_TESTS_NATIVE_KERNELS_ORACLE_H_

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

// Independent double-precision models of what the kernels do. They share no code with the library and never
// look at packed bytes: they start from the original float rows.
namespace kvprune::oracle {

// How one section treats its rows.
struct SectionRules {
  Storage storage;
  int nonzeros;
  bool keys;
};

// Nearest bfloat16 (ties to even), by arithmetic on the value.
double RoundToBFloat16(double value);

// The same for IEEE binary16.
double RoundToFloat16(double value);

// What the rows of a tile read as after pruning and rounding: removed elements are 0. Where `mask` is not
// null, it says which elements are kept (not 0) in place of their magnitudes.
using Mask = std::vector<std::vector<uint8_t>>;
std::vector<std::vector<double>> StoredTile(const std::vector<std::vector<float>>& rows,
                                            const SectionRules& rules, const Mask* mask = nullptr);

struct Output {
  std::vector<double> values;  // head_size
  double log_sum;              // of the exponentials of all logits
};

// Softmax attention of one query over rows [begin, end) of `keys` and `values` (end -1: all); sizes are taken
// from the vectors. Logits are capped where softcap is above 0.
Output Attend(const std::vector<double>& query, const std::vector<std::vector<double>>& keys,
              const std::vector<std::vector<double>>& values, double softcap = 0, int64_t begin = 0,
              int64_t end = -1);

}  // namespace kvprune::oracle

#endif  // KVPRUNE_TESTS_NATIVE_KERNELS_ORACLE_H_
