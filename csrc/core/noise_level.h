#pragma once

#include "core/foreground.h"
#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

// Noise standard deviation of a magnitude scan (nz, ny, nx) inside the head, in the scan's unit.
// Two estimates. In the head: the finest diagonal detail where it is flattest, which anatomy can
// only raise. In the air: noise there is Rayleigh, its median is sigma sqrt(2 ln 2) (Gudbjartsson
// and Patz 1995, The Rician distribution of noisy MRI data). The air's is taken if it is below the
// head's and not so far below that the air must have been masked. Where the air's detail says that
// noise is not white (a scan that was interpolated, filtered or zero-filled), the head's tells
// nothing, and the spread in small blocks of air is taken, of one coil or many.
// Throws Error(ErrorKind::input) for fewer than 5 voxels along an axis.
double noise_sigma(Parallel& parallel, const float* volume, const VolumeShape& shape,
                   const Foreground& foreground);

}  // namespace mdr
