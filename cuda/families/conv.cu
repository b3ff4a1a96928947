#include "families/families.h"

namespace dc::cuda {

const ConvKernels<float> conv_f32 = {unsupported, unsupported, unsupported};
const ConvKernels<double> conv_f64 = {unsupported, unsupported, unsupported};

}  // namespace dc::cuda
