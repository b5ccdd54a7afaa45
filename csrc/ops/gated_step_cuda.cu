#include <cuda_runtime_api.h>

#include <string>

#include "core/error.h"
#include "ops/gated_step.h"

namespace mdr {
namespace {

constexpr int kThreads = 256;

__global__ void gated_step_kernel(GatedStepShape shape, GatedStepScalars scalars,
                                  GatedStepDeviceBatch batch) {
  const int plane = shape.height * shape.width;
  const int cell = blockIdx.x * kThreads + threadIdx.x;
  const int tile = blockIdx.z;
  const int c = blockIdx.y;
  if (cell >= plane) return;
  const int y = cell / shape.width, x = cell % shape.width;
  const GateSample sy = gate_sample(y, shape.height, shape.gate_height);
  const GateSample sx = gate_sample(x, shape.width, shape.gate_width);
  const size_t size = static_cast<size_t>(shape.channels) * plane;
  const size_t within = static_cast<size_t>(c) * plane + cell;
  const size_t at = tile * size + within;
  const int* slots = batch.slots + tile * shape.experts;
  const int gate_cells = shape.gate_height * shape.gate_width;
  const float* gates = batch.gates + static_cast<size_t>(tile) * shape.experts * gate_cells;

  float noise = 0.0f;
  if (scalars.c_n != 0.0f) {
    const NoiseOrigin origin = batch.origins[tile];
    const Normal4 n =
        normal4(scalars.seed, scalars.noise_index, origin.x + x, origin.y + y, origin.z, c);
    const int lane = c & 3;
    noise = lane == 0 ? n.n0 : lane == 1 ? n.n1 : lane == 2 ? n.n2 : n.n3;
  }
  const GatedElement out = gated_element(
      shape.experts,
      [&](int i) { return slots[i] < 0 ? 0.0f : batch.experts[i][slots[i] * size + within]; },
      [&](int i) {
        return slots[i] < 0 ? 0.0f : gate_at(gates + i * gate_cells, shape.gate_width, sy, sx);
      },
      batch.z_t[at], batch.z0_prev && scalars.c_1 != 0.0f ? batch.z0_prev[at] : 0.0f, noise,
      scalars);
  batch.z_s[at] = out.z_s;
  batch.z0[at] = out.z0;
}

}  // namespace

bool gated_step_cuda_built() { return true; }

void gated_step_cuda(const GatedStepShape& shape, const GatedStepScalars& scalars,
                     const GatedStepDeviceBatch& batch, void* stream) {
  const dim3 blocks((shape.height * shape.width + kThreads - 1) / kThreads, shape.channels,
                    batch.tiles);
  gated_step_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(shape, scalars,
                                                                                batch);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    fail(ErrorKind::backend, "gated_step: expected a CUDA launch, found ",
         cudaGetErrorString(error),
         "; the driver is probably missing or older than this build; update it or use the CPU");
  }
}

}  // namespace mdr
