#ifndef KVPRUNE_PRUNING_QUADRATIC_FORMS_H_
#define KVPRUNE_PRUNING_QUADRATIC_FORMS_H_

#include <cstdint>

namespace kvprune {

// forms[t] = x_t^T M x_t for `count` rows x_t of `width` floats, `stride` apart, and a matrix [width, width].
// Width at most kMaxHeadSize.
void QuadraticForms(const float* rows, int64_t stride, int64_t count, int width, const float* matrix,
                    double* forms);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_QUADRATIC_FORMS_H_
