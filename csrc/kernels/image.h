// Image family, NHWC: resizing, sampling at a grid, and batched augmentation.
#pragma once
#include "kernel.h"

namespace dc {

enum class Resize : int32_t {
  nearest = 0,          // source row floor(p * h / P)
  bilinear = 1,         // source row (p + 0.5) * h / P - 0.5, clamped to the image
  bilinear_corners = 2  // source row p * (h - 1) / (P - 1): corners meet corners
};

struct ResizeShape {
  int64_t n, h, w, c, p, q;  // (n, h, w, c) -> (n, p, q, c)
  Resize mode;
};

// Grid entry (u, v) in [-1, 1] is column ((u + 1) * w - 1) / 2 and row ((v + 1) * h - 1) / 2, or with align_corners
// column (u + 1) * (w - 1) / 2 and row (v + 1) * (h - 1) / 2. Taps outside are 0, or (border) the point is clamped.
struct GridSampleShape {
  int64_t n, h, w, c, p, q;  // x (n, h, w, c), grid (n, p, q, 2) -> y (n, p, q, c)
  bool border = false, align_corners = false;
};

// y[i] = image rows[i] of x, warped, shifted, flipped, cut and normalised:
//   1. Warp: rotation by up to `rotate` radians, size factor in [1 - scale, 1 + scale], shear up to `shear` about the
//      centre (bilinear), with taps outside equal to fill. Left out where all three are 0.
//   2. Shift by whole pixels in [-shift_h, shift_h] x [-shift_w, shift_w] around the central p x q crop; pixels
//      outside are fill. Together with (1) the shift is part of the warp and not rounded to whole pixels.
//   3. Mirror left-right with probability flip.
//   4. With cut > 0, a cut x cut square around a random pixel is set to fill.
//   5. y = value * gain[channel] + bias[channel].
// Random numbers of image i: words 0..7 of blocks 2 id, 2 id + 1 of (seed, stream), id = ids[i] (rows[i] where null):
//   0 row shift, 1 column shift, 2 flip, 3 rotation, 4 size, 5 shear, 6 cut row, 7 cut column.
struct AugmentShape {
  int64_t n, h, w, c, p, q;  // images (any, h, w, c) -> y (n, p, q, c)
  int64_t shift_h = 0, shift_w = 0, cut = 0;
  float flip = 0, rotate = 0, scale = 0, shear = 0, fill = 0;
  uint64_t seed = 0, stream = 0;
};

template <class T>
struct ImageKernels {
  Kernel<void(const ResizeShape&, const T* x, T* y, Context&)> resize;
  Kernel<void(const ResizeShape&, const T* g, T* gx, Context&)> resize_grad;
  Kernel<void(const GridSampleShape&, const T* x, const T* grid, T* y, Context&)> grid_sample;
  // gx or ggrid may be null.
  Kernel<void(const GridSampleShape&, const T* x, const T* grid, const T* g, T* gx, T* ggrid, Context&)>
      grid_sample_grad;
  Kernel<void(const AugmentShape&, const T* x, const int64_t* rows, const int64_t* ids, const T* gain, const T* bias,
              T* y, Context&)>
      augment;
  Kernel<void(const AugmentShape&, const uint8_t* x, const int64_t* rows, const int64_t* ids, const T* gain,
              const T* bias, T* y, Context&)>
      augment_bytes;
  // y[i] = weight[i] x[i] + (1 - weight[i]) x[partner[i]], rows of `size` elements. y is not x.
  Kernel<void(int64_t rows, int64_t size, const T* weight, const int64_t* partner, const T* x, T* y, Context&)> mixup;
};

}  // namespace dc
