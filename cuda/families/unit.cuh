// 16 bytes at a time: four floats or two doubles.
#pragma once
#include "device/primitives.cuh"

namespace dc::cuda {

template <class T>
inline constexpr int kWidth = 16 / sizeof(T);

DC_DEVICE void load_unit(const float* x, float (&v)[4]) {
  const float4 a = load<float4>(x);
  v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
}
DC_DEVICE void load_unit(const double* x, double (&v)[2]) {
  const double2 a = load<double2>(x);
  v[0] = a.x, v[1] = a.y;
}
DC_DEVICE void store_unit(float* y, const float (&v)[4]) { store(y, float4{v[0], v[1], v[2], v[3]}); }
DC_DEVICE void store_unit(uint32_t* y, const uint32_t (&v)[4]) { store(y, uint4{v[0], v[1], v[2], v[3]}); }
DC_DEVICE void store_unit(double* y, const double (&v)[2]) { store(y, double2{v[0], v[1]}); }

}  // namespace dc::cuda
