// SPDX-License-Identifier: BSD-3-Clause
// A vector whose items are counted as everything else here is.
#pragma once

#include <utility>
#include <vector>

#include "sae/base/view.hpp"

namespace sae {

template <class T>
class List : public std::vector<T> {
   public:
    using std::vector<T>::vector;
    List() = default;
    List(std::vector<T> items) : std::vector<T>(std::move(items)) {}

    T& operator[](Index i) { return this->data()[i]; }
    const T& operator[](Index i) const { return this->data()[i]; }
    Index count() const { return static_cast<Index>(this->size()); }
};

}  // namespace sae
