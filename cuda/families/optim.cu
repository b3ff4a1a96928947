#include "families/families.h"

namespace dc::cuda {

const OptimKernels<float> optim_f32 = {unsupported, unsupported, unsupported, unsupported, unsupported, unsupported,
                                       unsupported, unsupported, unsupported, unsupported, unsupported};
const OptimKernels<double> optim_f64 = {unsupported, unsupported, unsupported, unsupported, unsupported, unsupported,
                                        unsupported, unsupported, unsupported, unsupported, unsupported};

}  // namespace dc::cuda
