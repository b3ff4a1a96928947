// The input of a convolution as its kernels see it: an image surrounded by zeros.
// Row i, column j of the padded image is row i - pad_top, column j - pad_left of the image, 0 outside; negative
// padding crops. A block of padded rows is copied into scratch that stays in L2, unless the image itself will do.
#pragma once
#include "core/parallel.h"
#include "cpu/gemm_pack.h"
#include "kernels/conv.h"

namespace dc::DC_ISA {

// A set of sub-images that a kernel reads: rows x columns of padded image, `channels` values a pixel.
template <class T>
struct Block {
  const T* data;
  int64_t row;    // distance of rows
  int64_t pixel;  // distance of pixels
};

struct Padding {
  int64_t h, w, channels, top, left;
  // Distance of pixels in a copy. Tiles read one line of each of up to 14 pixels at a time: pixels a multiple of
  // 2 KiB apart would share a few sets of L1.
  int64_t pitch;
  bool copy;  // the image itself will not do

  // rows, columns: size of the padded image that is read. step: pixels between neighbours in a tile.
  Padding(int64_t h_, int64_t w_, int64_t channels_, int64_t top_, int64_t left_, int64_t rows, int64_t columns,
          int64_t step, int64_t value_bytes, bool spread)
      : h(h_),
        w(w_),
        channels(channels_),
        top(top_),
        left(left_),
        pitch(channels_),
        copy(top_ > 0 || left_ > 0 || rows - top_ > h_ || columns - left_ > w_) {
    if (spread && (channels * step * value_bytes) % 2048 == 0) pitch += 64 / value_bytes, copy = true;
  }

  template <class T>
  Block<T> block(const T* image, int64_t row0, int64_t rows, int64_t columns, T* scratch) const {
    if (!copy) return {image + ((row0 - top) * w - left) * channels, w * channels, channels};
    const int64_t from = min64(max64(left, 0), columns), to = max64(from, min64(columns, w + left));
    for (int64_t i = 0; i < rows; ++i) {
      T* out = scratch + i * columns * pitch;
      const int64_t y = row0 + i - top;
      if (y < 0 || y >= h) {
        memset(out, 0, columns * pitch * sizeof(T));
        continue;
      }
      memset(out, 0, from * pitch * sizeof(T));
      const T* in = image + (y * w + from - left) * channels;
      if (pitch == channels)
        memcpy(out + from * pitch, in, (to - from) * channels * sizeof(T));
      else
        for (int64_t j = from; j < to; ++j) memcpy(out + j * pitch, in + (j - from) * channels, channels * sizeof(T));
      memset(out + to * pitch, 0, (columns - to) * pitch * sizeof(T));
    }
    return {scratch, columns * pitch, pitch};
  }
};

}  // namespace dc::DC_ISA
