#include "cache/model_shape.h"

#include "kernels/tile_format.h"

namespace kvprune {

Status MakeModelShape(const kvp_model_shape& source, ModelShape* shape) {
  const auto invalid = [](const char* name, int64_t value, const char* rule) {
    return Status(KVP_INVALID_ARGUMENT,
                  std::string("model shape: ") + name + " is " + std::to_string(value) + ", but " + rule);
  };
  // Together these keep every byte count within 64 bits.
  if (source.layers < 1 || source.layers > 512)
    return invalid("layers", source.layers, "must be in [1, 512]");
  if (source.kv_heads < 1 || source.kv_heads > 512)
    return invalid("kv_heads", source.kv_heads, "must be in [1, 512]");
  if (source.query_heads < 1 || source.query_heads > 8192 || source.query_heads % source.kv_heads != 0)
    return invalid("query_heads", source.query_heads, "must be a multiple of kv_heads, at most 8192");
  if (source.head_size < 8 || source.head_size > kMaxHeadSize || source.head_size % 8 != 0)
    return invalid("head_size", source.head_size, "must be a multiple of 8 in [8, 256]");
  // ONNX Runtime counts a sequence's tokens in 32 bits.
  if (source.max_tokens < 1 || source.max_tokens > INT32_MAX)
    return invalid("max_tokens", source.max_tokens, "must be in [1, 2147483647]");
  *shape = {source.layers, source.query_heads, source.kv_heads, source.head_size, source.max_tokens};
  return {};
}

}  // namespace kvprune
