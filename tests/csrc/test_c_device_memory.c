/* Volumes in device memory, on a GPU acted out on the host that runs what is queued as late as it
 * may: whatever is read or written without regard to the stream gives another result. */
#include "scan_for_c.h"
#include "stand_in_engine.h"

int main(void) {
  mdr_engine* engine = stand_in_gpu_engine();
  mdr_session* session = NULL;
  mdr_grid output;
  float* scan = make_scan();
  check(mdr_session_create(engine, &session) == MDR_OK, "a session is made");
  check(mdr_output_grid(engine, &kGrid, NULL, &output) == MDR_OK, "the output grid is told");
  const size_t voxels = mdr_grid_voxels(&output);
  float *expected = make_out(voxels), *found = make_out(voxels);
  check(mdr_enhance(session, scan, &kGrid, NULL, expected, voxels) == MDR_OK,
        "host memory is taken with a GPU, too");

  void* stream = stand_in_stream(engine);
  float* device_scan = stand_in_upload(engine, scan, VOXELS, stream);
  float* device_out = stand_in_upload(engine, found, voxels, stream);
  const int before = stand_in_live(engine);
  mdr_enhance_params params = mdr_enhance_default_params();
  params.memory = MDR_DEVICE_MEMORY;
  params.stream = stream;
  check(mdr_enhance(session, device_scan, &kGrid, &params, device_out, voxels) == MDR_OK,
        "device memory is taken");
  check(!stand_in_gpu_in_use(), "the thread has its own GPU again");
  stand_in_download(engine, found, device_out, voxels, stream);
  check(memcmp(found, expected, voxels * sizeof *found) == 0, "for the same voxels");
  /* The two uploads' own memory was given back on the stream meanwhile. */
  check(stand_in_live(engine) == before - 2, "nothing of the device is kept");

  stand_in_give_back(engine, device_scan);
  stand_in_give_back(engine, device_out);
  stand_in_end_stream(engine, stream);
  mdr_session_free(session);
  mdr_engine_free(engine);
  free(scan);
  free(expected);
  free(found);
  puts("all claims hold");
  return 0;
}
