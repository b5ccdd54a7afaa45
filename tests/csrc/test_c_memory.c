/* What a run really holds, against the limit that it asks for. */
#include "counted_memory.h"
#include "scan_for_c.h"
#include "stand_in_engine.h"

static const mdr_grid kLarge = {48, 44, 24, {2.0, 2.0, 2.0}};

/* Blocks of its foreground are single voxels. */
static const mdr_grid kCoarse = {96, 96, 80, {2.1, 2.1, 2.1}};

/* Of few slices: what threads hold of each is more than what the volumes take. */
static const mdr_grid kSlab = {512, 384, 8, {1.0, 1.0, 2.0}};

static float* make_large_scan(const mdr_grid* grid) {
  const size_t nx = grid->nx;
  float* scan = malloc(mdr_grid_voxels(grid) * sizeof *scan);
  for (size_t i = 0; i < mdr_grid_voxels(grid); ++i) {
    const size_t x = i % nx;
    scan[i] = (float)(x > nx / 12 && x < nx - nx / 12 ? 500 + i % 37 : 1 + i % 3);
  }
  return scan;
}

/* The most that a run held beyond what was there before, under a limit. */
static size_t held(const mdr_grid* grid, const float* scan, const mdr_enhance_params* params,
                   uint64_t limit) {
  mdr_engine_params asked = mdr_engine_default_params();
  asked.memory_limit = limit;
  mdr_engine* engine = stand_in_engine(&asked);
  mdr_session* session = NULL;
  mdr_grid output;
  check(mdr_session_create(engine, &session) == MDR_OK, "a session is made");
  check(mdr_output_grid(engine, grid, params, &output) == MDR_OK, "the output grid is told");
  float* out = make_out(mdr_grid_voxels(&output));
  const size_t before = counted_begin();
  const mdr_status status = mdr_enhance(session, scan, grid, params, out, mdr_grid_voxels(&output));
  const size_t most = counted_most() - before;
  mdr_session_free(session);
  mdr_engine_free(engine);
  free(out);
  return status == MDR_OK ? most : 0;
}

static void check_limit(const mdr_grid* grid, const float* scan, const mdr_enhance_params* params) {
  check(held(grid, scan, params, 1000) == 0, "a limit of nothing is refused");
  const char* words = "memory limit of ";
  const uint64_t least = strtoull(strstr(mdr_last_error(), words) + strlen(words), NULL, 10);
  const size_t most = held(grid, scan, params, least);
  printf("%d slices, %d samples of %d planes at %g mm: limit %.2f MB, held %.2f MB\n", grid->nz,
         params->samples, params->planes, params->output_mm, (double)least / 1e6,
         (double)most / 1e6);
  check(most > 0, "the least limit is enough");
  check(most <= least, "what is held stays within it");
  check(most > least / 3, "which is not far more than is needed");
}

int main(void) {
  float* scan = make_large_scan(&kLarge);
  for (int samples = 1; samples <= 3; ++samples) {
    for (int finer = 0; finer < 2; ++finer) {
      mdr_enhance_params params = mdr_enhance_default_params();
      params.samples = samples;
      params.planes = 1;
      params.output_mm = finer ? 0.8 : 1.25;
      check_limit(&kLarge, scan, &params);
      params.planes = 4 - samples;
      if (samples < 3) check_limit(&kLarge, scan, &params);
    }
  }
  free(scan);
  scan = make_large_scan(&kSlab);
  mdr_enhance_params params = mdr_enhance_default_params();
  params.output_mm = 1.25;
  params.steps = 1;
  for (params.planes = 1; params.planes <= 2; ++params.planes) {
    check_limit(&kSlab, scan, &params);
  }
  free(scan);
  scan = make_large_scan(&kCoarse);
  params.output_mm = 1.25;
  params.planes = 1;
  check_limit(&kCoarse, scan, &params);
  free(scan);
  puts("all claims hold");
  return 0;
}
