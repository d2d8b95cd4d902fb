#ifndef KVPRUNE_CACHE_RECORD_STEP_H_
#define KVPRUNE_CACHE_RECORD_STEP_H_

#include "cache/layer.h"

namespace kvprune {

// Adds what a layer's prompt or probe step contributes to the record of `prompt_rows`, in which the step's
// own rows have been written. `past`: QueryRows::past of [tokens, query_heads]; null where nothing is sealed.
// Attention of all queries multiplies queries and keys once more: the kernels that attend keep no weights.
Status RecordStep(const LayerParameters& parameters, const LayerRows& rows, const float* past,
                  PromptRows& prompt_rows, TaskRunner& tasks);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_RECORD_STEP_H_
