// SPDX-License-Identifier: BSD-3-Clause
// What training minimizes, row by row: the loss of a row in float64, and its gradient with respect
// to the last layer's output. A batch's loss is the sum over its rows, never the mean. To add one:
// a word in a list, here or in kernels/names.hpp, and its class in loss.cpp.
#pragma once

#include <cstdint>

#include "sae/base/enum.hpp"
#include "sae/data/batch.hpp"

namespace sae {

#define SAE_LOSSES(X)              \
    SAE_VALUE_LOSSES(X)            \
    X(divergence, Divergence)      \
    X(cross_entropy, CrossEntropy) \
    X(clipped_cross_entropy, ClippedCrossEntropy)
SAE_ENUM(LossName, SAE_LOSSES)

// What a row of outputs is compared with: a row of values, or the number of a class.
enum class Target { values, label };

// Rows of n elements, all padded. Of a batch, row `row` is what counts.
template <class T>
class Loss {
   public:
    virtual ~Loss() = default;
    virtual Target target() const = 0;
    // What is left to a last layer with this activation to compute: linear where the activation is
    // part of the loss, which then goes by z in the place of a.
    virtual Activation applied(Activation output) const { return output; }
    // Whether delta() reads targets that are sparse; value() never does.
    virtual bool reads_sparse() const { return false; }
    // Whether a sum over a sparse set expands into terms that need no reconstruction.
    virtual bool expands() const { return false; }
    // The loss of one row of outputs, which are lost.
    virtual double value(Index n, T* a, const Batch<T>& batch, Index row) const = 0;
    // How much of a row of outputs is right: 1 if it says the label, or of several labels, all
    // values from 0 to 1, those on the same side of 1/2 as their targets.
    virtual Index n_right(View<const T>, const Batch<T>&, Index /* row */) const { return 0; }
    // delta = d loss / d a; for classes d loss / d z, the softmax being part of the loss.
    virtual void delta(Index n, const T* a, const Batch<T>& batch, Index row, T* delta) const = 0;
    // std::invalid_argument if the samples of a source have nothing to compare n outputs with.
    void check(const Source<T>& source, Index n) const;

   protected:
    static const Kernels<T>& k() { return kernels<T>(active_isa()); }
};

template <class T>
const Loss<T>& find_loss(LossName name);

}  // namespace sae
