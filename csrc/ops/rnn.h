// Recurrent layers over whole sequences, time first.
#pragma once
#include <array>
#include <optional>

#include "core/array.h"
#include "kernels/rnn.h"

namespace dc::ops {

using MaybeArray = std::optional<Array>;

struct RnnOptions {
  RnnCell cell;
  RnnGate gate;
  std::array<double, 3> slope;
  bool reverse;
  double mix_h = 0, mix_c = 0;  // zoneout without draws
};

// Tensors that a layer is differentiated by: size is hidden, or the rows of the projection.
enum RnnTensor : size_t {
  kX,           // (steps, batch, inputs)
  kW,           // (gates hidden, inputs)
  kU,           // (gates hidden, size)
  kBias,        // (gates hidden)
  kBiasH,       // (hidden), of gru
  kPeephole,    // (peepholes, hidden)
  kProjection,  // (size, hidden)
  kGainX,  // (gates hidden), of the norm of W x; with it all that follow up to kShiftH, of cells with c up to kShiftC
  kShiftX,
  kGainH,  // (gates hidden), of the norm of U h
  kShiftH,
  kGainC,  // (hidden), of the norm of c
  kShiftC,
  kH0,  // (batch, size)
  kC0,  // (batch, hidden)
  kRnnTensors
};
// x, w and u are there, the others may be none.
using RnnTensors = std::array<MaybeArray, kRnnTensors>;

// Not differentiated by. lengths: (batch) int64 in [0, steps]. h_mask: (batch, size), times which U sees h. Draws of
// zoneout: (steps, batch, size) for h, (steps, batch, hidden) for c, 0 where the old value stays. Each may be none.
struct RnnGiven {
  MaybeArray lengths, h_mask, zoneout_h, zoneout_c;
};

// What the backward pass reads, as in kernels/rnn.h; raw: W x before its norm, with its mean and 1 / deviation.
enum RnnSavedArray : size_t {
  kGates,
  kH,
  kC,
  kExtra,
  kFed,
  kFresh,
  kOut,
  kInner,
  kStats,
  kRaw,
  kRawMean,
  kRawRstd,
  kRnnSaved
};
using RnnSaved = std::array<MaybeArray, kRnnSaved>;

struct RnnResult {
  Array y, h;    // (steps, batch, size), (batch, size)
  MaybeArray c;  // (batch, hidden), of cells with c
  std::optional<RnnSaved> saved;
};

// packed_w, packed_u: none, or pack_linear(w) and pack_rnn(u, projection): the same bits. keep: saved is filled.
RnnResult rnn(const RnnOptions& options, const RnnTensors& tensors, const RnnGiven& given, bool keep,
              const MaybeArray& packed_w = std::nullopt, const MaybeArray& packed_u = std::nullopt);
// u and the projection as the kernel reads them: worth keeping where calls are of one step.
Array pack_rnn(RnnCell cell, const Array& u, const MaybeArray& projection);

// Cotangents of the tensors where `needed` says so, from those of y, h and c, each may be none.
RnnTensors rnn_grad(const RnnOptions& options, const MaybeArray& gy, const MaybeArray& gh, const MaybeArray& gc,
                    const RnnSaved& saved, const RnnTensors& tensors, const RnnGiven& given,
                    const std::array<bool, kRnnTensors>& needed);

}  // namespace dc::ops
