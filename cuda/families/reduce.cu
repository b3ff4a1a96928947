#include "families/families.h"

namespace dc::cuda {

const ReduceKernels<float> reduce_f32 = {unsupported};
const ReduceKernels<double> reduce_f64 = {unsupported};

}  // namespace dc::cuda
