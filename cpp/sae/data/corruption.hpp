// SPDX-License-Identifier: BSD-3-Clause
// Noise on the samples of a batch before the first layer reads them, their target staying clean
// (denoising autoencoders, Vincent et al. 2010). To add one: a word in the list, and its class
// in corruption.cpp.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "sae/base/enum.hpp"
#include "sae/base/philox.hpp"
#include "sae/data/batch.hpp"

namespace sae {

#define SAE_CORRUPTIONS(X) X(masking, Masking)
SAE_ENUM(CorruptionName, SAE_CORRUPTIONS)

template <class T>
class Corruption {
   public:
    virtual ~Corruption() = default;
    // Changes the rows `rows` of batch.x, a matrix, at step `step`, counted from 1.
    virtual void apply(Batch<T>& batch, Range rows, Index step) const = 0;
};

// The corruption of a name, with its options by theirs; std::out_of_range if one is missing.
template <class T>
std::unique_ptr<Corruption<T>> make_corruption(CorruptionName name,
                                               const std::map<std::string, double>& options,
                                               PhiloxKey key);

}  // namespace sae
