/* embed BUNDLE IN.raw NX NY NZ VOXEL_MM OUT.raw
 *
 * Enhances a volume of raw float32 numbers, x fastest, with cubic voxels, and writes the result as
 * raw float32. All that it takes to put moediff-rt into a program of your own. */
#include <errno.h>
#include <moediff_rt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tell(mdr_log_level level, const char* message, void* user_data) {
  (void)user_data;
  if (level < MDR_LOG_ERROR) fprintf(stderr, "%s\n", message);
}

static void show(int32_t done, int32_t total, void* user_data) {
  (void)user_data;
  fprintf(stderr, "\r%d of %d tiles%s", (int)done, (int)total, done == total ? "\n" : "");
}

static float* read_volume(const char* path, size_t voxels) {
  FILE* file = fopen(path, "rb");
  if (!file) {
    fprintf(stderr, "embed: expected a readable file, found %s: %s\n", path, strerror(errno));
    return NULL;
  }
  float* volume = malloc(voxels * sizeof *volume);
  const size_t read = volume ? fread(volume, sizeof *volume, voxels, file) : 0;
  const int more = read == voxels && fgetc(file) != EOF;
  fclose(file);
  if (read == voxels && !more) return volume;
  free(volume);
  fprintf(stderr, "embed: expected %zu float32 numbers in %s, found %s; check NX, NY and NZ\n",
          voxels, path, more ? "more" : "fewer");
  return NULL;
}

static int write_volume(const char* path, const float* volume, size_t voxels) {
  FILE* file = fopen(path, "wb");
  size_t written = 0;
  if (file) {
    written = fwrite(volume, sizeof *volume, voxels, file);
    if (fclose(file) != 0) written = 0;
  }
  if (file && written == voxels) return 0;
  fprintf(stderr, "embed: expected to write %s, found: %s\n", path, strerror(errno));
  return 1;
}

/* The enhanced volume, or NULL; its grid goes to out_grid. */
static float* enhance(const char* bundle, const float* scan, const mdr_grid* grid,
                      mdr_grid* out_grid) {
  mdr_engine* engine = NULL;
  mdr_session* session = NULL;
  float* out = NULL;
  mdr_status status;

  mdr_engine_params engine_params = mdr_engine_default_params();
  engine_params.log = tell;
  mdr_enhance_params params = mdr_enhance_default_params();
  params.progress = show;

  status = mdr_engine_load(bundle, &engine_params, &engine);
  if (status == MDR_OK) status = mdr_session_create(engine, &session);
  if (status == MDR_OK) status = mdr_output_grid(engine, grid, &params, out_grid);
  if (status == MDR_OK) {
    const size_t voxels = mdr_grid_voxels(out_grid);
    out = malloc(voxels * sizeof *out);
    status = mdr_enhance(session, scan, grid, &params, out, voxels);
  }
  mdr_session_free(session);
  mdr_engine_free(engine);
  if (status == MDR_OK) return out;
  fprintf(stderr, "embed: %s: %s\n", mdr_status_name(status), mdr_last_error());
  free(out);
  return NULL;
}

int main(int count, char** words) {
  if (count != 8) {
    fprintf(stderr, "usage: %s BUNDLE IN.raw NX NY NZ VOXEL_MM OUT.raw\n", words[0]);
    return 2;
  }
  if (mdr_abi_version() != MDR_ABI_VERSION) {
    fprintf(stderr, "embed: expected moediff-rt with ABI %d, found %u (release %s)\n",
            MDR_ABI_VERSION, (unsigned)mdr_abi_version(), mdr_version());
    return 1;
  }
  const double mm = strtod(words[6], NULL);
  const mdr_grid grid = {atoi(words[3]), atoi(words[4]), atoi(words[5]), {mm, mm, mm}};
  if (grid.nx < 1 || grid.ny < 1 || grid.nz < 1) {
    fprintf(stderr, "embed: expected NX, NY and NZ above 0\n");
    return 2;
  }
  float* scan = read_volume(words[2], mdr_grid_voxels(&grid));
  if (!scan) return 1;
  mdr_grid out_grid;
  float* out = enhance(words[1], scan, &grid, &out_grid);
  free(scan);
  if (!out) return 1;
  const int failed = write_volume(words[7], out, mdr_grid_voxels(&out_grid));
  free(out);
  if (failed) return 1;
  printf("%d %d %d %g %g %g\n", (int)out_grid.nx, (int)out_grid.ny, (int)out_grid.nz,
         out_grid.voxel_mm[0], out_grid.voxel_mm[1], out_grid.voxel_mm[2]);
  return 0;
}
