#include "families/families.h"

namespace dc::cuda {

const PeakKernels peak = {unsupported, unsupported};

}  // namespace dc::cuda
