#include "families/families.h"

namespace dc::cuda {

const NormKernels<float> norm_f32 = {unsupported, unsupported, unsupported, unsupported, unsupported, unsupported};
const NormKernels<double> norm_f64 = {unsupported, unsupported, unsupported, unsupported, unsupported, unsupported};

}  // namespace dc::cuda
