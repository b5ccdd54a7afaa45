#include "ops/blend.h"

namespace mdr {
namespace {

MDR_CLONES void add_row(const float* image, float weight_y, const float* weight_x, int columns,
                        float* sum) {
#pragma GCC ivdep
  for (int x = 0; x < columns; ++x) sum[x] += blend_weight(weight_y, weight_x[x]) * image[x];
}

MDR_CLONES void add_weight_row(float weight_y, const float* weight_x, int columns, float* weight) {
#pragma GCC ivdep
  for (int x = 0; x < columns; ++x) weight[x] += blend_weight(weight_y, weight_x[x]);
}

MDR_CLONES void finish(const float* sum, const float* weight, const float* input, int64_t count,
                       float* out) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) out[i] = blend_voxel(sum[i], weight[i], input[i]);
}

}  // namespace

void blend_add_cpu(const float* image, int64_t image_stride, int rows, int columns,
                   const float* weight_y, const float* weight_x, int64_t stride, float* sum,
                   float* weight) {
  for (int y = 0; y < rows; ++y) {
    add_row(image + y * image_stride, weight_y[y], weight_x, columns, sum + y * stride);
    if (weight) add_weight_row(weight_y[y], weight_x, columns, weight + y * stride);
  }
}

void blend_finish_cpu(const float* sum, const float* weight, const float* input, int64_t count,
                      float* out) {
  finish(sum, weight, input, count, out);
}

}  // namespace mdr
