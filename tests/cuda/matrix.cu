// Matrix products in the three ways of the primitives: shared-memory tiles with FFMA, bf16 with cp.async, ldmatrix and
// mma, and tf32 with mma; and the fragment layouts on their own.
#include "device/primitives.cuh"

namespace dc {

// c[m,n] = sum_k a[m,k] b[k,n], row by row. 64x64 tile per block of 256 threads, 4x4 per thread, depth 16.
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 2)
    sgemm(const float* DC_RESTRICT a, const float* DC_RESTRICT b, float* DC_RESTRICT c, int m, int n, int k) {
  constexpr int kTile = 64, kDepth = 16;
  DC_SHARED(float[kDepth][kTile + 4], as);
  DC_SHARED(float[kDepth][kTile], bs);
  const int t = static_cast<int>(thread_index().x), tx = t % 16 * 4, ty = t / 16 * 4;
  const int row0 = static_cast<int>(block_index().y) * kTile, column0 = static_cast<int>(block_index().x) * kTile;
  float sum[4][4] = {};
  for (int k0 = 0; k0 < k; k0 += kDepth) {
    for (int i = t; i < kTile * kDepth; i += 256) {
      const int row = row0 + i / kDepth, depth = k0 + i % kDepth;
      as[i % kDepth][i / kDepth] = row < m && depth < k ? a[static_cast<long long>(row) * k + depth] : 0.0f;
      const int depth_b = k0 + i / kTile, column = column0 + i % kTile;
      bs[i / kTile][i % kTile] = depth_b < k && column < n ? b[static_cast<long long>(depth_b) * n + column] : 0.0f;
    }
    sync_block();
    DC_UNROLL
    for (int d = 0; d < kDepth; ++d) {
      const float4 x = load<float4>(&as[d][ty]), y = load<float4>(&bs[d][tx]);
      const float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
      DC_UNROLL
      for (int i = 0; i < 4; ++i) DC_UNROLL
      for (int j = 0; j < 4; ++j) sum[i][j] += xs[i] * ys[j];
    }
    sync_block();
  }
  DC_UNROLL
  for (int i = 0; i < 4; ++i) DC_UNROLL
  for (int j = 0; j < 4; ++j)
    if (row0 + ty + i < m && column0 + tx + j < n)
      c[static_cast<long long>(row0 + ty + i) * n + column0 + tx + j] = sum[i][j];
}

// The same in bf16; n and k are multiples of 8. 64x64x32 tiles, 4 warps of 32x32, two stages filled by cp.async.
DC_KERNEL void DC_LAUNCH_BOUNDS(128, 2)
    gemm_bf16(const bf16* DC_RESTRICT a, const bf16* DC_RESTRICT b, float* DC_RESTRICT c, int m, int n, int k) {
  constexpr int kTile = 64, kDepth = 32;
  DC_SHARED(bf16[2][kTile][kDepth + 8], as);  // 8 more: rows of ldmatrix in different banks
  DC_SHARED(bf16[2][kDepth][kTile + 8], bs);
  const int t = static_cast<int>(thread_index().x), l = static_cast<int>(lane()), w = static_cast<int>(warp());
  const int warp_row = w / 2 * 32, warp_column = w % 2 * 32;
  const int row0 = static_cast<int>(block_index().y) * kTile, column0 = static_cast<int>(block_index().x) * kTile;
  const auto fetch = [&](int stage, int k0) {
    for (int i = t; i < kTile * kDepth / 8; i += 128) {
      const int r = i / (kDepth / 8), d = i % (kDepth / 8) * 8;
      const bool in_a = row0 + r < m && k0 + d < k;
      cp_async16(&as[stage][r][d], a + (in_a ? static_cast<long long>(row0 + r) * k + k0 + d : 0), in_a);
      const int e = i / (kTile / 8), s = i % (kTile / 8) * 8;
      const bool in_b = k0 + e < k && column0 + s < n;
      cp_async16(&bs[stage][e][s], b + (in_b ? static_cast<long long>(k0 + e) * n + column0 + s : 0), in_b);
    }
    cp_async_commit();
  };
  float sum[2][4][4] = {};
  const int steps = (k + kDepth - 1) / kDepth;
  fetch(0, 0);
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      fetch((step + 1) & 1, (step + 1) * kDepth);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    sync_block();
    const int stage = step & 1;
    DC_UNROLL
    for (int d = 0; d < kDepth; d += 16) {
      uint32_t x[2][4], y[4][2];
      DC_UNROLL
      for (int i = 0; i < 2; ++i) ldmatrix_x4(x[i], &as[stage][warp_row + i * 16 + l % 16][d + l / 16 * 8]);
      DC_UNROLL
      for (int j = 0; j < 4; ++j) ldmatrix_x2_trans(y[j], &bs[stage][d + l % 16][warp_column + j * 8]);
      DC_UNROLL
      for (int i = 0; i < 2; ++i) DC_UNROLL
      for (int j = 0; j < 4; ++j) mma_bf16(sum[i][j], x[i], y[j]);
    }
    sync_block();
  }
  DC_UNROLL
  for (int i = 0; i < 2; ++i) DC_UNROLL
  for (int j = 0; j < 4; ++j) DC_UNROLL
  for (int h = 0; h < 4; ++h) {
    const int row = row0 + warp_row + i * 16 + l / 4 + h / 2 * 8;
    const int column = column0 + warp_column + j * 8 + l % 4 * 2 + h % 2;
    if (row < m && column < n) c[static_cast<long long>(row) * n + column] = sum[i][j][h];
  }
}

// One warp: c[16,8] = a[16,8 steps] b[8 steps,8] in tf32, rounded here.
DC_KERNEL void gemm_tf32(const float* a, const float* b, float* c, int steps) {
  const int g = static_cast<int>(lane()) / 4, t = static_cast<int>(lane()) % 4, depth = 8 * steps;
  float sum[4] = {};
  for (int step = 0; step < steps; ++step) {
    const float *x = a + g * depth + step * 8 + t, *y = b + (step * 8 + t) * 8 + g;
    const uint32_t xs[4] = {to_tf32(x[0]), to_tf32(x[8 * depth]), to_tf32(x[4]), to_tf32(x[8 * depth + 4])};
    const uint32_t ys[2] = {to_tf32(y[0]), to_tf32(y[32])};
    mma_tf32(sum, xs, ys);
  }
  DC_UNROLL
  for (int h = 0; h < 4; ++h) c[(g + h / 2 * 8) * 8 + 2 * t + h % 2] = sum[h];
}

// Four 8x8 matrices of numbers: out[form][register][lane] for x1, x2, x4 and their transposed forms.
DC_KERNEL void load_fragments(uint32_t* out) {
  DC_DYNAMIC_SHARED(bytes);
  bf16* const values = reinterpret_cast<bf16*>(bytes);  // [32 rows][8]
  const unsigned l = lane();
  for (unsigned i = l; i < 256; i += 32) values[i].bits = static_cast<uint16_t>(i);
  sync_warp();
  const bf16* row = values + 8 * l;
  uint32_t r1[1], r2[2], r4[4];
  ldmatrix_x1(r1, row);
  out[l] = r1[0];
  ldmatrix_x2(r2, row);
  DC_UNROLL
  for (int i = 0; i < 2; ++i) out[32 * (1 + i) + l] = r2[i];
  ldmatrix_x4(r4, row);
  DC_UNROLL
  for (int i = 0; i < 4; ++i) out[32 * (3 + i) + l] = r4[i];
  ldmatrix_x1_trans(r1, row);
  out[32 * 7 + l] = r1[0];
  ldmatrix_x2_trans(r2, row);
  DC_UNROLL
  for (int i = 0; i < 2; ++i) out[32 * (8 + i) + l] = r2[i];
  ldmatrix_x4_trans(r4, row);
  DC_UNROLL
  for (int i = 0; i < 4; ++i) out[32 * (10 + i) + l] = r4[i];
}

// Copies n floats through shared memory by 4-byte asynchronous copies, zeros beyond n.
DC_KERNEL void copy_through_shared(const float* x, float* y, unsigned n) {
  DC_SHARED(float[128], values);
  const unsigned t = thread_index().x, i = block_index().x * 128 + t;
  cp_async4(&values[t], x + (i < n ? i : 0), i < n);
  cp_async_commit();
  cp_async_wait<0>();
  sync_block();
  y[i] = values[t ^ 1];
}

}  // namespace dc

#ifndef __CUDACC__
#include "harness.h"

using namespace harness;

namespace {

void check_product(const char* name, const DeviceArray<float>& c, const std::vector<float>& a,
                   const std::vector<float>& b, int m, int n, int k, double tolerance) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      for (int d = 0; d < k; ++d) {
        const double product = double(a[size_t(i * k + d)]) * b[size_t(d * n + j)];
        sum += product, magnitude += std::fabs(product);
      }
      CHECK(std::fabs(c[size_t(i * n + j)] - sum) <= tolerance * magnitude, "%s %dx%dx%d [%d,%d]: %g, expected %g",
            name, m, n, k, i, j, c[size_t(i * n + j)], sum);
    }
}

dc::dim3 tiles(int m, int n) { return {unsigned(n + 63) / 64, unsigned(m + 63) / 64}; }

void test_sgemm(int m, int n, int k) {
  const std::vector<float> a = random_floats(size_t(m * k), 1), b = random_floats(size_t(k * n), 2);
  DeviceArray<float> da(a), db(b), c(size_t(m * n));
  if (succeeded(dc::launch(dc::sgemm, tiles(m, n), 256, 0, nullptr, da.data(), db.data(), c.data(), m, n, k)))
    check_product("sgemm", c, a, b, m, n, k, 1e-6);
}

std::vector<float> rounded(std::vector<float> values, std::vector<dc::bf16>& out) {
  for (float& v : values) {
    out.push_back(dc::to_bf16(v));
    v = dc::to_float(out.back());
  }
  return values;
}

void test_gemm_bf16(int m, int n, int k) {
  std::vector<dc::bf16> a16, b16;
  const std::vector<float> a = rounded(random_floats(size_t(m * k), 1), a16);
  const std::vector<float> b = rounded(random_floats(size_t(k * n), 2), b16);
  DeviceArray<dc::bf16> da(a16), db(b16);
  DeviceArray<float> c(size_t(m * n));
  if (succeeded(dc::launch(dc::gemm_bf16, tiles(m, n), 128, 0, nullptr, da.data(), db.data(), c.data(), m, n, k)))
    check_product("bf16", c, a, b, m, n, k, 1e-6);
}

void test_gemm_tf32(int steps) {
  const int k = 8 * steps;
  std::vector<float> a = random_floats(size_t(16 * k), 1), b = random_floats(size_t(8 * k), 2);
  DeviceArray<float> da(a), db(b), c(128);
  if (succeeded(dc::launch(dc::gemm_tf32, 1, 32, 0, nullptr, da.data(), db.data(), c.data(), steps))) {
    check_product("tf32, unrounded", c, a, b, 16, 8, k, 1e-3);
    for (float& v : a) v = dc::bits_float(dc::to_tf32(v));
    for (float& v : b) v = dc::bits_float(dc::to_tf32(v));
    check_product("tf32", c, a, b, 16, 8, k, 1e-6);
  }
}

void test_fragments() {
  DeviceArray<uint32_t> out(14 * 32);
  if (!succeeded(dc::launch(dc::load_fragments, 1, 32, 512, nullptr, out.data()))) return;
  const int first[3] = {0, 1, 3};
  for (int trans = 0; trans < 2; ++trans)
    for (int form = 0; form < 3; ++form)
      for (int matrix = 0; matrix < 1 << form; ++matrix)
        for (int l = 0; l < 32; ++l) {
          const int outer = l / 4, inner = l % 4 * 2, step = trans ? 8 : 1;
          const uint32_t low = uint32_t(64 * matrix + (trans ? inner * 8 + outer : outer * 8 + inner));
          const uint32_t expected = low | (low + uint32_t(step)) << 16;
          const uint32_t got = out[size_t(32 * (7 * trans + first[form] + matrix) + l)];
          CHECK(got == expected, "trans %d form %d matrix %d lane %d: %08x, expected %08x", trans, form, matrix, l, got,
                expected);
        }
}

void test_copies() {
  const std::vector<float> x = random_floats(200, 3);
  DeviceArray<float> in(x), out(256);
  succeeded(dc::launch(dc::copy_through_shared, 2, 128, 0, nullptr, in.data(), out.data(), 200u));
  for (unsigned i = 0; i < 256; ++i) CHECK(out[i] == ((i ^ 1) < 200 ? x[i ^ 1] : 0.0f), "element %u: %g", i, out[i]);
}

void test_conversions() {
  for (uint32_t u = 0; u < 0x10000; ++u) {
    const float x = dc::bits_float(u << 16);
    const dc::bf16 back = dc::to_bf16(x);
    CHECK(std::isnan(x) ? std::isnan(dc::to_float(back)) : back.bits == u, "%04x became %04x", u, back.bits);
  }
  CHECK(dc::to_bf16(dc::bits_float(0x3F808000)).bits == 0x3F80, "a tie goes to even");
  CHECK(dc::to_bf16(dc::bits_float(0x3F818000)).bits == 0x3F82, "a tie goes to even");
  CHECK(dc::to_bf16(dc::bits_float(0x3F808001)).bits == 0x3F81, "above a tie");
  CHECK(dc::to_bf16(dc::bits_float(0x7F7FFFFF)).bits == 0x7F80, "the largest float rounds to infinity");
  CHECK(std::isnan(dc::to_float(dc::to_bf16(dc::bits_float(0x7F800001)))),
        "NaN whose payload is all in the lower half");
  CHECK(dc::pack_bf16(1.0f, 2.0f) == 0x40003F80, "%08x", dc::pack_bf16(1.0f, 2.0f));
  CHECK(dc::to_tf32(dc::bits_float(0x3F801000)) == 0x3F802000, "a tie goes away from zero");
  CHECK(dc::to_tf32(dc::bits_float(0xBF801000)) == 0xBF802000, "a tie goes away from zero");
  CHECK(dc::to_tf32(dc::bits_float(0x3F800FFF)) == 0x3F800000, "below a tie");
  CHECK(dc::to_tf32(dc::bits_float(0x7F800000)) == 0x7F800000, "infinity");
}

}  // namespace

int main() {
  test_conversions();
  for (const Mode& mode : kModes) {
    set_mode(mode);
    test_sgemm(1, 1, 1);
    test_sgemm(70, 130, 37);
    test_gemm_bf16(1, 8, 8);
    test_gemm_bf16(72, 136, 80);
    test_gemm_tf32(5);
    test_fragments();
    test_copies();
  }
  return check::finish("matrix");
}
#endif
