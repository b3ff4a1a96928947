// Convolution of few terms (one or three input channels): y[pixel, k] = sum over terms of windows and filters.
// All terms of a tile lie in shared memory at once, the filters for as long as the block lives: blocks step over tiles
// of kThinPixels pixels, whose windows come by cp.async while the tile before is multiplied. A thread owns 8 x 8 sums.
// In float32 whatever the precision: so few terms take about as long as writing y. Bound: multiply-adds, memory.
#pragma once
#include "families/conv_windows.cuh"
#include "families/gemm_feed.cuh"

namespace dc::cuda {

constexpr int kThinThreads = 128, kThinPixels = 128, kThinFilters = 64, kThinTerms = 80;
constexpr int kThinPitch = kThinFilters + 4;

// Dynamic shared memory: two tiles of windows [term][pixel], the filters [term][k], where the terms lie.
inline size_t thin_bytes(long long terms) {
  return static_cast<size_t>(terms) *
         ((2 * kThinPixels + kThinPitch) * sizeof(float) + sizeof(typename Windows<float>::Pixel));
}

DC_KERNEL void DC_LAUNCH_BOUNDS(kThinThreads, 3)
    thin_forward(Windows<float> x, const float* DC_RESTRICT w, Output<float> out, int terms, int filters, int tiles) {
  using Pixel = Windows<float>::Pixel;
  DC_DYNAMIC_SHARED(memory);
  Pixel* const places = reinterpret_cast<Pixel*>(memory);
  float* const kernel = reinterpret_cast<float*>(places + terms);
  float* const windows = kernel + terms * kThinPitch;
  const int tid = static_cast<int>(thread_index().x), tx = tid % 8, ty = tid / 8;
  const int k0 = static_cast<int>(block_index().y) * kThinFilters;
  for (int t = tid; t < terms; t += kThinThreads) keep(places + t, x.term(t));
  for (int e = tid; e < terms * kThinFilters; e += kThinThreads) {
    const int k = e / terms, t = e - k * terms;
    kernel[t * kThinPitch + k] = k0 + k < filters ? w[static_cast<long long>(k0 + k) * terms + t] : 0.0f;
  }
  sync_block();

  // A thread brings the window of one pixel.
  const auto fetch = [&](long long tile, float* to) {
    if (tile < tiles) {
      const Pixel pixel = x.pixel(tile * kThinPixels + tid);
      for (int t = 0; t < terms; ++t) {
        const Pixel term = kept(places + t);
        const bool valid = x.inside(pixel, term);
        cp_async4(to + t * kThinPixels + tid, valid ? x.image + (pixel.at + term.at) : x.image, valid);
      }
    }
    cp_async_commit();
  };
  const long long step = grid_size().x;
  int buffer = 0;
  fetch(block_index().x, windows);
  for (long long tile = block_index().x; tile < tiles; tile += step, buffer ^= 1) {
    fetch(tile + step, windows + (buffer ^ 1) * terms * kThinPixels);
    cp_async_wait<1>();
    sync_block();
    const float* a = windows + buffer * terms * kThinPixels + ty * 4;
    const float* b = kernel + tx * 4;
    float sums[8][8] = {};
    for (int t = 0; t < terms; ++t, a += kThinPixels, b += kThinPitch) {
      float p[2][4], k[2][4];
      load4(a, p[0]);
      load4(a + kThinPixels / 2, p[1]);
      load4(b, k[0]);
      load4(b + kThinFilters / 2, k[1]);
      DC_UNROLL
      for (int i = 0; i < 8; ++i) DC_UNROLL
      for (int j = 0; j < 8; ++j) sums[i][j] += p[i / 4][i % 4] * k[j / 4][j % 4];
    }
    DC_UNROLL
    for (int i = 0; i < 8; ++i) {
      const long long row = tile * kThinPixels + i / 4 * (kThinPixels / 2) + ty * 4 + i % 4;
      if (row < x.pixels) {
        float* at = out.row(row);
        DC_UNROLL
        for (int g = 0; g < 2; ++g) {
          const int column = k0 + g * (kThinFilters / 2) + tx * 4;
          if (out.quads && column < filters) {
            out.put4(at, column, &sums[i][4 * g]);
          } else {
            DC_UNROLL
            for (int j = 0; j < 4; ++j)
              if (column + j < filters) out.put(at, column + j, sums[i][4 * g + j]);
          }
        }
      }
    }
    if (out.unfinished())
      activate_tile(out, tile * kThinPixels, k0, left_of(x.pixels, tile * kThinPixels, kThinPixels),
                    filters - k0 < kThinFilters ? filters - k0 : kThinFilters, kThinThreads);
    sync_block();  // before the next tile's windows arrive over these
  }
  cp_async_wait<0>();
}

inline bool thin_pays(long long pixels, long long filters, long long terms, long long channels, long long groups) {
  return groups == 1 && channels % 4 != 0 && terms <= kThinTerms && filters >= 8 && pixels >= 512;
}

inline void thin(const char* op, Context& context, const Windows<float>& x, const float* w, Output<float> out,
                 int terms, int filters) {
  out.quads = quads_of(out, filters);
  const long long tiles = ceil_div(x.pixels, kThinPixels);
  const dim3 grid(blocks_for(tiles, 1, 1, 396), static_cast<unsigned>(ceil_div(filters, kThinFilters)));
  run(op, context, thin_forward, grid, dim3(kThinThreads), thin_bytes(terms), x, w, out, terms, filters,
      static_cast<int>(tiles));
}

}  // namespace dc::cuda
