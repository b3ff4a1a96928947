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
};

// w (gates hidden, inputs), u (gates hidden, hidden), bias (gates hidden), bias_h (hidden) of gru, peephole
// (peepholes, hidden).
struct RnnWeights {
  Array w, u;
  MaybeArray bias, bias_h, peephole;
};

// What the backward pass reads.
struct RnnSaved {
  Array gates, h;
  MaybeArray c, extra;
};

struct RnnResult {
  Array y, h;    // (steps, batch, hidden), (batch, hidden)
  MaybeArray c;  // (batch, hidden), of cells with c
  std::optional<RnnSaved> saved;
};

// x (steps, batch, inputs), h0 and c0 (batch, hidden) or none for 0, lengths (batch) int64 in [0, steps] or none.
// packed_w, packed_u: none, or pack_linear(w) and pack_rnn(u): the same bits. keep: saved is filled.
RnnResult rnn(const RnnOptions& options, const Array& x, const RnnWeights& weights, const MaybeArray& h0,
              const MaybeArray& c0, const MaybeArray& lengths, bool keep, const MaybeArray& packed_w = std::nullopt,
              const MaybeArray& packed_u = std::nullopt);
// u as the kernel reads it: worth keeping where calls are of one step.
Array pack_rnn(RnnCell cell, const Array& u);

struct RnnGrads {
  MaybeArray x, w, u, bias, bias_h, peephole, h0, c0;
};
// Cotangents of the arguments, in the order above, where `needed` says so, from those of y, h and c, each may be none.
RnnGrads rnn_grad(const RnnOptions& options, const MaybeArray& gy, const MaybeArray& gh, const MaybeArray& gc,
                  const RnnSaved& saved, const Array& x, const RnnWeights& weights, const MaybeArray& lengths,
                  const std::array<bool, 8>& needed);

}  // namespace dc::ops
