#include "families/families.h"

namespace dc::cuda {

const LossKernels<float> loss_f32 = {unsupported, unsupported, unsupported, unsupported, unsupported,
                                     unsupported, unsupported, unsupported, unsupported, unsupported};
const LossKernels<double> loss_f64 = {unsupported, unsupported, unsupported, unsupported, unsupported,
                                      unsupported, unsupported, unsupported, unsupported, unsupported};

}  // namespace dc::cuda
