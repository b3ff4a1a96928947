#include "families/families.h"

namespace dc::cuda {

const RandomKernels<float> random_f32 = {unsupported, unsupported, unsupported, unsupported,
                                         unsupported, unsupported, unsupported};
const RandomKernels<double> random_f64 = {unsupported, unsupported, unsupported, unsupported,
                                          unsupported, unsupported, unsupported};

}  // namespace dc::cuda
