#include "pruning/value_norms.h"

#include <algorithm>
#include <cmath>

#include "pruning/finite.h"
#include "pruning/quadratic_forms.h"

namespace kvprune {

Status ValueNorms(const TokenRows& values, int head_size, float* norms) {
  for (int64_t t = 0; t < values.count; ++t) {
    const float* value = values.rows + t * values.stride;
    double squares = 0;
    for (int j = 0; j < head_size; ++j)
      squares += static_cast<double>(value[j]) * static_cast<double>(value[j]);
    norms[t] = static_cast<float>(std::sqrt(squares));
  }
  return CheckScores(norms, values.count, "the norm of the value");
}

Status OutputNorms(const TokenRows& values, int head_size, const float* gram, double* forms, float* norms) {
  QuadraticForms(values.rows, values.stride, values.count, head_size, gram, forms);
  // Rounding can take a form of nearly zero below it. (In this order NaN stays.)
  for (int64_t t = 0; t < values.count; ++t)
    norms[t] = static_cast<float>(std::sqrt(forms[t] < 0 ? 0.0 : forms[t]));
  return CheckScores(norms, values.count, "the norm of the output of the value");
}

}  // namespace kvprune
