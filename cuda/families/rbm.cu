// Restricted Boltzmann machines: no kernels of this back end yet.
#include "families/families.h"

namespace dc::cuda {

namespace {

int64_t packed_size(int64_t, int64_t) { return 0; }

template <class T>
inline constexpr RbmKernels<T> kRbm = {packed_size, unsupported, unsupported, unsupported,
                                       unsupported, unsupported, unsupported, unsupported};

}  // namespace

const RbmKernels<float> rbm_f32 = kRbm<float>;
const RbmKernels<double> rbm_f64 = kRbm<double>;

}  // namespace dc::cuda
