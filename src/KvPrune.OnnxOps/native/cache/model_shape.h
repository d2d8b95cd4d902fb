#ifndef KVPRUNE_CACHE_MODEL_SHAPE_H_
#define KVPRUNE_CACHE_MODEL_SHAPE_H_

#include <cstdint>

#include "cache/status.h"

namespace kvprune {

struct ModelShape {
  int layers;
  int query_heads;
  int kv_heads;
  int head_size;
  int64_t max_tokens;

  int group() const { return query_heads / kv_heads; }
};

Status MakeModelShape(const kvp_model_shape& source, ModelShape* shape);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_MODEL_SHAPE_H_
