#include "emulation/matrix.h"

#include <cstring>

#include "emulation/collective.h"
#include "emulation/observer.h"
#include "emulation/scheduler.h"

namespace dc::emulation {

namespace {

constexpr int kLanes = static_cast<int>(kWarpSize);

struct Operands {
  const uint32_t *a, *b;
  float* d;
};

const Operands& operands_of(const Meeting& meeting, int lane) {
  return *static_cast<const Operands*>(meeting.argument[lane]);
}

float bf16_half(uint32_t pair, int half) { return bits_float(half ? pair & 0xFFFF0000u : pair << 16); }
float tf32_value(uint32_t bits) { return bits_float(bits & 0xFFFFE000u); }

// d[16][8] += a[16][kDepth] b[kDepth][8], and back into the lanes' registers: row lane / 4 and + 8, columns
// 2 (lane % 4) and + 1.
template <int kDepth>
void multiply_add(const Meeting& meeting, const float (&a)[16][kDepth], const float (&b)[kDepth][8]) {
  for (int row = 0; row < 16; ++row) {
    float sum[8] = {};
    for (int k = 0; k < kDepth; ++k)
      for (int column = 0; column < 8; ++column) sum[column] += a[row][k] * b[k][column];
    for (int pair = 0; pair < 4; ++pair) {
      float* d = operands_of(meeting, row % 8 * 4 + pair).d + row / 8 * 2;
      d[0] += sum[2 * pair];
      d[1] += sum[2 * pair + 1];
    }
  }
}

// Registers of a: rows g, g + 8, g, g + 8 with g = lane / 4; the first two hold columns 2 t, 2 t + 1 with
// t = lane % 4, the others columns 8 further. b the same along its depth, with column g.
void compute_bf16(const Meeting& meeting) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const Operands& o = operands_of(meeting, lane);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      const int k = 2 * t + half;
      a[g][k] = bf16_half(o.a[0], half);
      a[g + 8][k] = bf16_half(o.a[1], half);
      a[g][k + 8] = bf16_half(o.a[2], half);
      a[g + 8][k + 8] = bf16_half(o.a[3], half);
      b[k][g] = bf16_half(o.b[0], half);
      b[k + 8][g] = bf16_half(o.b[1], half);
    }
  }
  multiply_add(meeting, a, b);
}

// As above with one element per register: columns t and t + 4.
void compute_tf32(const Meeting& meeting) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const Operands& o = operands_of(meeting, lane);
    const int g = lane / 4, t = lane % 4;
    a[g][t] = tf32_value(o.a[0]);
    a[g + 8][t] = tf32_value(o.a[1]);
    a[g][t + 4] = tf32_value(o.a[2]);
    a[g + 8][t + 4] = tf32_value(o.a[3]);
    b[t][g] = tf32_value(o.b[0]);
    b[t + 4][g] = tf32_value(o.b[1]);
  }
  multiply_add(meeting, a, b);
}

template <int kCount, bool kTransposed>
void compute_load(const Meeting& meeting) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int matrix = 0; matrix < kCount; ++matrix) {
      uint16_t element[2];
      for (int half = 0; half < 2; ++half) {
        const int outer = lane / 4, inner = lane % 4 * 2 + half;
        const int row = kTransposed ? inner : outer, column = kTransposed ? outer : inner;
        std::memcpy(&element[half], static_cast<const char*>(meeting.argument[8 * matrix + row]) + 2 * column, 2);
      }
      static_cast<uint32_t*>(meeting.result[lane])[matrix] = element[0] | static_cast<uint32_t>(element[1]) << 16;
    }
  }
}

constexpr Collective kMultiplyBf16 = {"mma_bf16", compute_bf16, true};
constexpr Collective kMultiplyTf32 = {"mma_tf32", compute_tf32, true};

const Collective& load_collective(int count, bool transposed) {
  static constexpr Collective kPlain[] = {{"ldmatrix_x1", compute_load<1, false>, true},
                                          {"ldmatrix_x2", compute_load<2, false>, true},
                                          {"ldmatrix_x4", compute_load<4, false>, true}};
  static constexpr Collective kTransposed[] = {{"ldmatrix_x1_trans", compute_load<1, true>, true},
                                               {"ldmatrix_x2_trans", compute_load<2, true>, true},
                                               {"ldmatrix_x4_trans", compute_load<4, true>, true}};
  return (transposed ? kTransposed : kPlain)[count / 2];
}

}  // namespace

void load_matrices(int count, bool transposed, uint32_t* registers, const void* row, const Place& place) {
  const Collective& collective = load_collective(count, transposed);
  if (current->lane < 8u * static_cast<unsigned>(count)) {  // the other lanes' addresses are not used
    if (reinterpret_cast<uintptr_t>(row) % 16)
      fail(std::string(collective.name) + ": a row's address is not a multiple of 16", place);
    if (!current->block->shared.contains(row, 16))
      fail(std::string(collective.name) + ": a row is not in the shared memory of this block", place);
    if (observer) observer->access(row, 16, Access::read, __builtin_return_address(0));
  }
  meet_lanes(kAllLanes, collective, row, registers, place);
}

void multiply_bf16(float* d, const uint32_t* a, const uint32_t* b, const Place& place) {
  const Operands operands{a, b, d};
  meet_lanes(kAllLanes, kMultiplyBf16, &operands, nullptr, place);
}

void multiply_tf32(float* d, const uint32_t* a, const uint32_t* b, const Place& place) {
  const Operands operands{a, b, d};
  meet_lanes(kAllLanes, kMultiplyTf32, &operands, nullptr, place);
}

}  // namespace dc::emulation
