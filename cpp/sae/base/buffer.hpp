// SPDX-License-Identifier: BSD-3-Clause
// Memory of our own: 64-byte aligned, zeroed, and handed out as views from one contiguous arena;
// and lists.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "sae/base/view.hpp"

namespace sae {

// An aligned array of n elements, zero at first.
template <class T>
class Buffer {
   public:
    Buffer() = default;
    explicit Buffer(Index n) : size_(n) {
        void* memory = ::operator new(static_cast<std::size_t>(n) * sizeof(T),
                                      std::align_val_t{static_cast<std::size_t>(kAlignment)});
        data_.reset(static_cast<T*>(memory));
        std::uninitialized_fill_n(data_.get(), n, T{});
    }

    T* data() const { return data_.get(); }
    Index size() const { return size_; }
    void zero() { std::fill_n(data_.get(), size_, T{}); }
    bool finite() const {
        return std::all_of(data(), data() + size_, [](T value) { return std::isfinite(value); });
    }

   private:
    struct Free {
        void operator()(T* p) const {
            ::operator delete(p, std::align_val_t{static_cast<std::size_t>(kAlignment)});
        }
    };
    std::unique_ptr<T, Free> data_;
    Index size_ = 0;
};

// A matrix of our own, zero at first.
template <class T>
class Matrix : public View<T> {
   public:
    Matrix() = default;
    Matrix(Index n_rows, Index n_cols)
        : View<T>{nullptr, n_rows, n_cols, padded<T>(n_cols)}, memory_(n_rows * this->ld) {
        this->data = memory_.data();
    }

   private:
    Buffer<T> memory_;
};

// A vector whose items are counted as everything else here is.
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

// The next (rows, cols) matrix with padded rows from an arena that `next` walks through.
template <class T>
View<T> take(T*& next, Index rows, Index cols) {
    View<T> view{next, rows, cols, padded<T>(cols)};
    next += rows * view.ld;
    return view;
}

}  // namespace sae
