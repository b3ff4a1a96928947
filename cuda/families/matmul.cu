#include "families/families.h"

namespace dc::cuda {

const MatmulKernels<float> matmul_f32 = {unsupported, unsupported, unsupported};
const MatmulKernels<double> matmul_f64 = {unsupported, unsupported, unsupported};

}  // namespace dc::cuda
