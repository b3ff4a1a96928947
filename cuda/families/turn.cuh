// Cosine and sine of a part of a turn: no range to reduce, hence nothing on the stack.
#pragma once
#include <cmath>

#include "device/primitives.cuh"

namespace dc::cuda {

template <class T>
struct Turn {
  T cosine, sine;
};
// cos and sin of 2 pi u, u in [0, 1): quarter turns are taken off exactly; then the CPU's polynomials in float,
// Taylor's to the last bit in double.
DC_DEVICE Turn<float> turn(float u) {
  const float quarters = u * 4.0f, whole = ::rintf(quarters);
  const float x = (quarters - whole) * 1.57079632679489662f, z = x * x;
  float s = -1.9515295891e-4f;
  s = ::fmaf(s, z, 8.3321608736e-3f);
  s = ::fmaf(s, z, -1.6666654611e-1f);
  s = ::fmaf(s * z, x, x);
  float c = 2.443315711809948e-5f;
  c = ::fmaf(c, z, -1.388731625493765e-3f);
  c = ::fmaf(c, z, 4.166664568298827e-2f);
  c = ::fmaf(c * z, z, ::fmaf(-0.5f, z, 1.0f));
  const int quadrant = static_cast<int>(whole);
  const float a = quadrant & 1 ? s : c, b = quadrant & 1 ? c : s;
  return {(quadrant + 1) & 2 ? -a : a, quadrant & 2 ? -b : b};
}
// x in [-pi / 4, pi / 4] beyond `quadrant` quarter turns.
DC_DEVICE Turn<double> beyond_quarters(double x, int quadrant) {
  const double z = x * x;
  double s = 0, c = 0;
  DC_UNROLL
  for (int k = 8; k >= 1; --k) {  // z^k / (2k + 1)! and z^k / (2k)!, nested
    s = (s + 1.0) * (z * (-1.0 / ((2 * k) * (2 * k + 1))));
    c = (c + 1.0) * (z * (-1.0 / ((2 * k - 1) * (2 * k))));
  }
  s = ::fma(s, x, x);
  c = c + 1.0;
  const double a = quadrant & 1 ? s : c, b = quadrant & 1 ? c : s;
  return {(quadrant + 1) & 2 ? -a : a, quadrant & 2 ? -b : b};
}
DC_DEVICE Turn<double> turn(double u) {
  const double quarters = u * 4.0, whole = ::rint(quarters);
  return beyond_quarters((quarters - whole) * 1.57079632679489661923, static_cast<int>(whole));
}
// cos and sin of an angle of a few turns, in radians.
DC_DEVICE Turn<double> turn_by_angle(double angle) {
  const double whole = ::rint(angle * 0.63661977236758134308);
  double x = ::fma(-whole, 1.57079632679489655800, angle);
  x = ::fma(-whole, 6.12323399573676603587e-17, x);
  return beyond_quarters(x, static_cast<int>(whole));
}

}  // namespace dc::cuda
