// How tiles of windows come into shared memory for the tensor cores (gemm_feed.cuh, conv_windows.cuh): four channels at
// a time where they divide by four, else single numbers. Where a pixel's window lies is found once for each pixel of a
// tile and noted in shared memory.
#pragma once
#include "families/conv_windows.cuh"
#include "families/gemm_feed.cuh"

namespace dc::cuda {

inline bool wide_windows(const Windows<float>& w) {
  return aligned(w.image) && multiple_of_4(w.channels) && multiple_of_4(w.pitch) && multiple_of_4(w.batch_step);
}

// Summed over terms: the pixels of a tile stay, a thread's term moves on.
struct TermTiles {
  Windows<float> windows;
  bool wide;
  DC_DEVICE void select(long long batch) { windows.select(batch); }
  DC_DEVICE Windows<float>::Pixel row(long long i) const { return windows.pixel(i); }
  DC_DEVICE float get(const Windows<float>::Pixel& row, long long p) const { return windows.get(row, windows.term(p)); }
};

template <int kOuter, int kThreads>
struct Feed<TermTiles, kOuter, kThreads> {
  using Layout = TileLayout<true, kOuter>;
  using Pixel = Windows<float>::Pixel;
  struct Notes {
    Pixel pixels[kOuter];
  };
  int y, x, c, s;  // the term: its distance from a window's first pixel, channel, column of its tap
  bool in_last;

  DC_DEVICE void start(const TermTiles& tiles, Notes& notes, long long first, long long p_begin, long long p_end) {
    const int tid = static_cast<int>(thread_index().x), mine = tiles.wide ? tid % (kStep / 4) * 4 : tid % kStep;
    for (int i = tid; i < kOuter; i += kThreads) keep(&notes.pixels[i], tiles.windows.pixel(first + i));
    in_last = mine < tail_of(p_begin, p_end);
    long long tap, channel, row, column;
    divide(p_begin + mine, tiles.windows.channels, &tap, &channel);
    divide(tap, tiles.windows.taps_w, &row, &column);
    c = static_cast<int>(channel), s = static_cast<int>(column);
    y = static_cast<int>(row) * tiles.windows.tap_h, x = s * tiles.windows.tap_w;
  }
  DC_DEVICE void prepare(const TermTiles&, Notes&, int) {}
  DC_DEVICE void issue(const TermTiles& tiles, const Notes& notes, int, bool last, float* tile) {
    const int tid = static_cast<int>(thread_index().x);
    const Windows<float>& w = tiles.windows;
    const bool real = !last || in_last;
    const Pixel term = {y, x, (static_cast<long long>(y) * w.width + x) * w.pitch + c};
    if (tiles.wide) {
      constexpr int kRows = kThreads / (kStep / 4);
      DC_UNROLL
      for (int e = 0; e < kOuter / kRows; ++e) {
        const int row = tid / 4 + e * kRows;
        const Pixel pixel = kept(&notes.pixels[row]);
        const bool valid = real && w.inside(pixel, term);
        cp_async16(tile + Layout::index(row, tid % 4 * 4), valid ? w.image + (pixel.at + term.at) : w.image, valid);
      }
    } else {
      constexpr int kRows = kThreads / kStep;
      for (int e = 0; e < kOuter / kRows; ++e) {
        const int row = tid / kStep + e * kRows;
        const Pixel pixel = kept(&notes.pixels[row]);
        const bool valid = real && w.inside(pixel, term);
        cp_async4(tile + Layout::index(row, tid % kStep), valid ? w.image + (pixel.at + term.at) : w.image, valid);
      }
    }
    c += kStep;
    while (c >= w.channels) {
      c -= w.channels;
      x += w.tap_w;
      if (++s == w.taps_w) {
        s = 0, x = 0;
        y += w.tap_h;
      }
    }
  }
};

// Summed over pixels: a thread's term stays, the pixels move on; 16 threads find those of a later step.
struct PixelTiles {
  Windows<float> windows;
  long long terms;
  bool wide;
  DC_DEVICE void select(long long batch) { windows.select(batch); }
  DC_DEVICE Windows<float>::Term row(long long i) const { return windows.term(i); }
  DC_DEVICE float get(const Windows<float>::Term& row, long long p) const { return windows.get(windows.pixel(p), row); }
};

template <int kOuter, int kThreads>
struct Feed<PixelTiles, kOuter, kThreads> {
  using Layout = TileLayout<false, kOuter>;
  using Pixel = Windows<float>::Pixel;
  struct Notes {
    Pixel pixels[kStages][kStep];
    long long begin, end;
  };
  Pixel term;

  DC_DEVICE void start(const PixelTiles& tiles, Notes& notes, long long first, long long p_begin, long long p_end) {
    const int tid = static_cast<int>(thread_index().x);
    if (tid == 0) notes.begin = p_begin, notes.end = p_end;
    for (int i = tid; i < kStages * kStep; i += kThreads)
      keep(&notes.pixels[i / kStep][i % kStep], pixel_at(tiles.windows, p_begin + i, p_end));
    const long long column = first + (tiles.wide ? tid % (kOuter / 4) * 4 : tid % kOuter);
    term = column < tiles.terms ? tiles.windows.term(column) : Pixel{Windows<float>::kNowhere, 0, 0};
  }
  DC_DEVICE void prepare(const PixelTiles& tiles, Notes& notes, int step) {
    const int tid = static_cast<int>(thread_index().x);
    if (tid < kStep)
      keep(&notes.pixels[step % kStages][tid],
           pixel_at(tiles.windows, notes.begin + static_cast<long long>(step) * kStep + tid, notes.end));
  }
  DC_DEVICE void issue(const PixelTiles& tiles, const Notes& notes, int step, bool, float* tile) {
    const int tid = static_cast<int>(thread_index().x);
    const Windows<float>& w = tiles.windows;
    const Pixel* pixels = notes.pixels[step % kStages];
    if (tiles.wide) {
      constexpr int kGroups = kOuter / 4, kRows = kThreads / kGroups;
      DC_UNROLL
      for (int e = 0; e < kStep / kRows; ++e) {
        const Pixel pixel = kept(pixels + tid / kGroups + e * kRows);
        const bool valid = w.inside(pixel, term);
        cp_async16(tile + Layout::index(tid % kGroups * 4, tid / kGroups + e * kRows),
                   valid ? w.image + (pixel.at + term.at) : w.image, valid);
      }
    } else {
      constexpr int kRows = kThreads / kOuter;
      for (int e = 0; e < kStep / kRows; ++e) {
        const Pixel pixel = kept(pixels + tid / kOuter + e * kRows);
        const bool valid = w.inside(pixel, term);
        cp_async4(tile + Layout::index(tid % kOuter, tid / kOuter + e * kRows),
                  valid ? w.image + (pixel.at + term.at) : w.image, valid);
      }
    }
  }

 private:
  static DC_DEVICE Pixel pixel_at(const Windows<float>& w, long long i, long long end) {
    return i < end ? w.pixel(i) : Pixel{Windows<float>::kNowhere, 0, 0};
  }
};

}  // namespace dc::cuda
