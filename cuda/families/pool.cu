#include "families/families.h"

namespace dc::cuda {

const PoolKernels<float> pool_f32 = {unsupported, unsupported, unsupported, unsupported,
                                     unsupported, unsupported, unsupported, unsupported};
const PoolKernels<double> pool_f64 = {unsupported, unsupported, unsupported, unsupported,
                                      unsupported, unsupported, unsupported, unsupported};

}  // namespace dc::cuda
