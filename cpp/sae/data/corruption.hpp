// SPDX-License-Identifier: BSD-3-Clause
// Noise on the samples of a batch before the first layer reads them, their target staying clean
// (denoising autoencoders, Vincent et al. 2010). To add one: a word in the list, and its class
// in corruption.cpp.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "sae/base/enum.hpp"
#include "sae/data/batch.hpp"
#include "sae/data/draws.hpp"

namespace sae {

#define SAE_CORRUPTIONS(X)            \
    X(masking, Masking)               \
    X(gaussian, Gaussian)             \
    X(salt_and_pepper, SaltAndPepper) \
    X(swap, Swap)
SAE_ENUM(CorruptionName, SAE_CORRUPTIONS)

using CorruptionOptions = std::map<std::string, double>;

template <class T>
class Corruption {
   public:
    Corruption(double share, const CorruptionOptions& options, std::uint64_t key);
    virtual ~Corruption() = default;

    // Whether sparse samples stay sparse; else batch.x and batch.clean have to be matrices.
    virtual bool keeps_sparse() const { return false; }
    // Whether a row is made of others too, any of the whole batch, which have to be read before.
    virtual bool reads_others() const { return false; }
    // Makes the rows `rows` of batch.x from those of batch.clean, at step `step`, counted from 1,
    // and says in batch.corrupted what is, if anything goes by it. Draws go by rows of the whole
    // batch.
    void apply(const Batch<T>& batch, Range rows, Index step) const;
    // Whether the loss of what is corrupted counts otherwise than that of the rest.
    bool emphasizes() const { return alpha_ != T(1) || beta_ != T(1); }
    // Weighs a row's gradient of such a loss with respect to the outputs.
    void emphasize(const Batch<T>& batch, Index row, T* delta) const;

   protected:
    // Sparse rows that stay so have nothing in `chosen` (n_features).
    virtual void corrupt(const Batch<T>& batch, Index row, Index step,
                         const std::uint8_t* chosen) const = 0;

    const Draws draws;
    const Choice choice;

   private:
    T alpha_, beta_;
};

// The corruption of a name, with its options by theirs; std::out_of_range if one is missing.
template <class T>
std::unique_ptr<Corruption<T>> make_corruption(CorruptionName name,
                                               const CorruptionOptions& options, std::uint64_t key);

}  // namespace sae
