// ldmatrix and mma.sync, with the fragment layouts of the device.
#pragma once
#include <cstdint>

#include "device/bf16.cuh"
#include "emulation/qualifiers.h"
#include "emulation/thread.h"

namespace dc::emulation {

void load_matrices(int count, bool transposed, uint32_t* registers, const void* row, const Place& place);
void multiply_bf16(float* d, const uint32_t* a, const uint32_t* b, const Place& place);
void multiply_tf32(float* d, const uint32_t* a, const uint32_t* b, const Place& place);

}  // namespace dc::emulation

namespace dc {

// Matrices of 8 rows of 16 bytes (8x8 bf16) from shared memory: lane 8 i + r gives the address of row r of matrix i,
// and gets elements 2 (lane % 4) and + 1 of row lane / 4 of each; transposed, of the transposed matrices.
#define DC_LDMATRIX(n)                                                                                \
  DC_DEVICE void ldmatrix_x##n(uint32_t (&r)[n], const void* row,                                     \
                               const emulation::Place& place = emulation::Place::current()) {         \
    emulation::load_matrices(n, false, r, row, place);                                                \
  }                                                                                                   \
  DC_DEVICE void ldmatrix_x##n##_trans(uint32_t (&r)[n], const void* row,                             \
                                       const emulation::Place& place = emulation::Place::current()) { \
    emulation::load_matrices(n, true, r, row, place);                                                 \
  }
DC_LDMATRIX(1)
DC_LDMATRIX(2)
DC_LDMATRIX(4)
#undef DC_LDMATRIX

// d += a b: a is 16x16 bf16, row by row, b is 16x8, column by column, d is 16x8 float32.
DC_DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                        const emulation::Place& place = emulation::Place::current()) {
  emulation::multiply_bf16(d, a, b, place);
}
// The same with a 16x8 and b 8x8 in tf32, of which the lower 13 bits are ignored.
DC_DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                        const emulation::Place& place = emulation::Place::current()) {
  emulation::multiply_tf32(d, a, b, place);
}
// Two numbers rounded to nearest, ties to even: `low` has the lower address.
DC_DEVICE uint32_t round_bf16x2(float low, float high) { return pack_bf16(low, high); }
// Round to nearest, ties away from zero (cvt.rna).
DC_DEVICE uint32_t to_tf32(float x) {
  const uint32_t bits = float_bits(x);
  const bool finite = (bits & 0x7F800000u) != 0x7F800000u;
  return finite ? (bits + 0x1000u) & 0xFFFFE000u : bits;
}

}  // namespace dc
