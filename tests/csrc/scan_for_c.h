/* A scan for tests in C: a bright ball with some texture, in dark air. */
#ifndef SCAN_FOR_C_H
#define SCAN_FOR_C_H

#include "check.h"

enum { NX = 20, NY = 18, NZ = 12, VOXELS = NX * NY * NZ };
static const mdr_grid kGrid = {NX, NY, NZ, {2.0, 2.0, 2.0}};

static inline float* make_scan(void) {
  float* scan = malloc(VOXELS * sizeof *scan);
  check(scan != NULL, "there is memory for a scan");
  for (int i = 0; i < VOXELS; ++i) {
    const double x = i % NX - 9.5, y = i / NX % NY - 8.5, z = i / (NX * NY) - 5.5;
    const double texture = (double)(i * 7919 % 101) / 101;
    scan[i] = (float)(x * x + y * y + z * z * 2 < 70 ? 800 + 200 * texture : 4 * texture);
  }
  return scan;
}

/* Room for a result, marked so that a change shows. */
static inline float* make_out(size_t voxels) {
  float* out = malloc(voxels * sizeof *out);
  check(out != NULL, "there is memory for a result");
  for (size_t i = 0; i < voxels; ++i) out[i] = -12345.0f;
  return out;
}

static inline int untouched(const float* out, size_t voxels) {
  for (size_t i = 0; i < voxels; ++i) {
    if (out[i] != -12345.0f) return 0;
  }
  return 1;
}

#endif
