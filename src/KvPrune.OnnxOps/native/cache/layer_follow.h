#ifndef KVPRUNE_CACHE_LAYER_FOLLOW_H_
#define KVPRUNE_CACHE_LAYER_FOLLOW_H_

#include "cache/layer.h"

namespace kvprune {

// Attention of a prompt step's tokens over the layer's sealed tiles and then, causally, over `prompt_rows`,
// in which the step's own rows have been written. Every tile is expanded to floats once for many query rows,
// one tile per thread at a time. `past`, where not null, takes [tokens, query_heads] logarithms of the sums
// of e^logit over the sealed rows (QueryRows::past).
Status AttendFollowUp(const LayerParameters& parameters, const LayerRows& rows, const PromptRows& prompt_rows,
                      TaskRunner& tasks, float* past);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_LAYER_FOLLOW_H_
