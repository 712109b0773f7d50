// SPDX-License-Identifier: BSD-3-Clause
// What libFuzzer runs on the core: it reads no files, so what is hostile are arrays. Each input is
// taken for the arguments of one caller: samples of any strides or a CSR matrix that may be none,
// then a network and its state, labels, weights, batches and options, within what Python's checks
// let through. All arrays are of their exact size, so that the address sanitizer sees every byte
// beside them; what is accepted has to mean what a naive reading of the arrays does.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "sae/base/blas.hpp"
#include "sae/base/isa.hpp"
#include "sae/evaluation/evaluation.hpp"
#include "sae/training/trainer.hpp"

namespace sae {
namespace {

using Data = FuzzedDataProvider;

void require(bool what) {
    if (!what) __builtin_trap();
}

// n elements in memory of their own, zero at first.
template <class S>
struct Items {
    explicit Items(Index n) : memory(std::make_unique<S[]>(static_cast<std::size_t>(n))) {}

    S& operator[](Index i) const { return memory[static_cast<std::size_t>(i)]; }
    S* get() const { return memory.get(); }

    std::unique_ptr<S[]> memory;
};

// n elements of any bits; 0 where the input has ended.
template <class S>
Items<S> any_array(Data& data, Index n) {
    Items<S> array(n);
    data.ConsumeData(array.get(), static_cast<std::size_t>(n) * sizeof(S));
    return array;
}

// The same, of finite numbers.
template <class T>
Items<T> finite_array(Data& data, Index n) {
    auto array = any_array<T>(data, n);
    for (Index i = 0; i < n; ++i) {
        if (!std::isfinite(array[i])) array[i] = std::numeric_limits<T>::max();
    }
    return array;
}

Index pick(Data& data, Index low, Index high) {
    return data.ConsumeIntegralInRange<Index>(low, high);
}

// What both kinds of source have.
struct Shape {
    Index n_samples, n_features;
};

// A factor that check_scale lets through; 1 for anything but bytes.
template <class T, class S>
T any_scale(Data& data) {
    const std::array<T, 4> scales{T(1) / 255, T(1), std::numeric_limits<T>::min(),
                                  std::nextafter(std::numeric_limits<T>::max() / 255, T(0))};
    return sizeof(S) == 1 ? data.PickValueInArray(scales) : T(1);
}

Layout any_layout(Data& data) {
    return data.PickValueInArray({Layout::automatic, Layout::dense, Layout::sparse});
}

// Checks that rows of an input from numbers of type S, in any order, are those of a matrix; what is
// denormal in S or in T may have been flushed.
template <class S, class T>
void check_rows(const Input<T>& input, const List<T>& expected) {
    const Index n = input.n_samples(), m = input.n_features();
    const double normal = std::max<double>(std::numeric_limits<T>::min(),
                                           sizeof(S) == 4 ? std::numeric_limits<float>::min() : 0);
    const Matrix<T> rows(n, m);
    const Items<std::int64_t> backwards(n);
    for (Index i = 0; i < n; ++i) backwards[i] = n - 1 - i;
    for (const std::int64_t* index : {static_cast<std::int64_t*>(nullptr), backwards.get()}) {
        input.gather(index, 0, rows);
        for (Index i = 0; i < n; ++i) {
            const Index from = index ? n - 1 - i : i;
            for (Index j = 0; j < m; ++j) {
                const T wanted = expected[from * m + j];
                require(rows(i, j) == wanted || (std::abs(wanted) < normal && rows(i, j) == 0));
            }
        }
    }
    const auto outside = [](T value) { return std::abs(value) > 1; };
    const auto place = input.find_outside(-1, 1, 2);
    const Index first = std::find_if(expected.begin(), expected.end(), outside) - expected.begin();
    require(first == (place ? place->sample * m + place->feature : n * m));
}

template <class Enum>
Enum any_of(Data& data) {
    constexpr int count = names_of(Enum{}).size();
    return static_cast<Enum>(data.ConsumeIntegralInRange<int>(0, count - 1));
}

// An optimizer of any rule, with options of all of them.
Optimizer any_optimizer(Data& data) {
    const double flag = data.ConsumeBool() ? 1 : 0;
    const OptimizerOptions options{
        {"beta1", 0.9},    {"beta2", 0.999},   {"alpha", 0.99},        {"epsilon", 1e-8},
        {"momentum", 0.9}, {"nesterov", flag}, {"weight_decay", 0.01}, {"corrected_epsilon", flag}};
    return make_optimizer(any_of<Rule>(data), options);
}

// A training on the input, and all that a network computes from it.
template <class T>
void compute(Data& data, const Input<T>& input, bool large) {
    const Index n = input.n_samples();
    const auto loss = any_of<LossName>(data);
    List<Index> sizes{input.n_features()};
    List<Activation> activations;
    for (Index left = pick(data, 0, 3); left > 0; --left) {
        sizes.push_back(pick(data, 1, large ? 300 : 40));
        activations.push_back(any_of<Activation>(data));
    }
    const bool labelled = find_loss<T>(loss).target() == Target::label;
    const bool targeted = !labelled && data.ConsumeBool();  // by others than the samples
    sizes.push_back(labelled || targeted ? pick(data, 2, 12) : input.n_features());
    activations.push_back(any_of<Activation>(data));

    const bool tied = !labelled && !targeted && data.ConsumeBool();
    if (tied) {  // the way up again as the way down
        sizes.pop_back();
        for (Index l = sizes.count() - 2; l >= 0; --l) sizes.push_back(sizes[l]);
        if (sizes.count() == 1) sizes = {sizes[0], pick(data, 1, 40), sizes[0]};
        while (activations.count() < sizes.count() - 1) {
            activations.push_back(any_of<Activation>(data));
        }
    }
    List<Index> kept;
    for (Index l = 0; l < activations.count(); ++l) {
        kept.push_back(activations[l] == Activation::top_k ? pick(data, 0, sizes[l + 1]) : 0);
    }

    Network<T> network(sizes, activations, kept, tied);
    for (Index l = 0; l < network.n_layers(); ++l) {
        const Dense<T>& layer = network.layer(l);
        const Index n_given = std::min<Index>(layer.n_in * layer.n_out, 64);
        const auto w = finite_array<T>(data, n_given);
        List<T> all(static_cast<std::size_t>(layer.n_in * layer.n_out));
        for (Index i = 0; i < all.count(); ++i) all[i] = w[i % n_given];
        network.set_parameters(l, all.data(), finite_array<T>(data, layer.n_out).get());
    }
    const auto any_positive = [&] {
        const double value = std::abs(data.ConsumeFloatingPoint<double>());
        return std::isfinite(value) && value > 0 ? value : 1e-3;
    };
    const auto optimizer = any_optimizer(data);
    OptimizerState<T> state(network.parameters().size(), optimizer.n_slots);
    for (const Buffer<T>& slot : state.slots) {
        const Index n_given = std::min<Index>(slot.size(), 32);
        data.ConsumeData(slot.data(), static_cast<std::size_t>(n_given) * sizeof(T));
    }
    state.steps_done = pick(data, 0, Index{1} << 53);

    const Items<std::int64_t> labels(n);
    const bool any_labels = data.ConsumeBool();
    bool right = true;
    for (Index i = 0; i < n; ++i) {
        labels[i] =
            any_labels ? data.ConsumeIntegral<std::int64_t>() : pick(data, 0, sizes.back() - 1);
        right = right && labels[i] >= 0 && labels[i] < sizes.back();
    }
    const auto values = finite_array<T>(data, n * sizes.back());
    const DenseSource values_source{values.get(), kStorage<T>, n, sizes.back(), sizes.back(), 1};
    const Input<T> targets(values_source, T(1), any_layout(data), 2);
    const auto weights = finite_array<T>(data, n);
    for (Index i = 0; i < n; ++i) weights[i] = std::abs(weights[i]);

    const Index batch_size = pick(data, 1, 9);
    const double weight_decay = data.ConsumeBool() ? 0.0 : any_positive();
    const int n_threads = static_cast<int>(pick(data, 1, 4));
    const std::int64_t* given_labels = labelled ? labels.get() : nullptr;
    const Source<T> source(input, given_labels, targeted ? &targets : nullptr,
                           data.ConsumeBool() ? weights.get() : nullptr);
    std::unique_ptr<Corruption<T>> corruption;
    if (data.ConsumeBool()) {
        const double emphasis = labelled ? 1 : data.ConsumeProbability<double>();
        const CorruptionOptions options{{"share", data.ConsumeProbability<double>()},
                                        {"stddev", any_positive()},
                                        {"low", -1},
                                        {"high", 1},
                                        {"alpha", 1},
                                        {"beta", emphasis}};
        corruption = make_corruption<T>(any_of<CorruptionName>(data), options,
                                        data.ConsumeIntegral<std::uint64_t>());
    }
    List<Dropout> dropout;
    for (Index l = data.ConsumeBool() ? 1 : network.n_layers(); l < network.n_layers(); ++l) {
        const double share = data.ConsumeProbability<double>();
        dropout.push_back({share < 1 ? share : 0, data.ConsumeIntegral<std::uint64_t>()});
    }
    Objective objective{loss, weight_decay};
    for (double* factor :
         {&objective.penalties.l1, &objective.penalties.max_norm, &objective.penalties.code_l1,
          &objective.penalties.kl_sparsity, &objective.penalties.contractive}) {
        if (data.ConsumeIntegralInRange(0, 7) == 0) *factor = any_positive();
    }
    objective.penalties.kl_target = data.ConsumeProbability<double>();
    const Penalties& penalties = objective.penalties;
    const Index n_layers = network.n_layers();
    bool fits = true;  // the penalties
    if (penalties.on_codes()) {
        fits = n_layers % 2 == 0 && (penalties.contractive == 0 || n_layers == 2);
        fits = fits &&
               (penalties.kl_sparsity == 0 || activations[n_layers / 2 - 1] == Activation::sigmoid);
    }
    const auto make_trainer = [&] {
        return std::make_unique<Trainer<T>>(network, optimizer, state, source, corruption.get(),
                                            dropout, objective, batch_size);
    };
    if ((labelled && !right) || !fits) {
        try {
            make_trainer();
            require(false);
        } catch (const std::invalid_argument&) {
            return;
        }
    }
    const auto trainer = make_trainer();
    for (Index left = pick(data, 0, 2); left > 0; --left) {
        const Index n_steps = pick(data, 0, 2);
        const Items<std::int64_t> batches(n_steps * batch_size);
        bool inside = true;
        const bool any = data.ConsumeBool();
        for (Index i = 0; i < n_steps * batch_size; ++i) {
            batches[i] = any ? data.ConsumeIntegral<std::int64_t>() : pick(data, 0, n - 1);
            inside = inside && batches[i] >= 0 && batches[i] < n;
        }
        const double max_seconds = data.ConsumeBool() ? 0 : 1e9;
        try {
            const List<double> rates(static_cast<std::size_t>(n_steps), any_positive());
            const Index done =
                trainer->run(batches.get(), rates.data(), n_steps, max_seconds, n_threads);
            require(inside && done <= n_steps && (done > 0 || n_steps == 0));
        } catch (const std::out_of_range&) {
            require(!inside);
        }
    }

    evaluate(network, source, objective, n_threads);
    const Items<double> losses(n);
    sample_losses(network, source, loss, n_threads, losses.get());
    const Index last = pick(data, 1, network.n_layers());
    const Items<T> out(n * sizes[last]);
    const bool softmax = data.ConsumeBool();
    try {
        network.predict(input, 0, last, softmax, n_threads, out.get());
        for (Index i = 0; softmax && i < n * sizes[last]; ++i) require(out[i] >= 0 && out[i] <= 1);
    } catch (const std::domain_error&) {
        require(softmax);
    }
    const Items<std::int64_t> classes(n);
    try {
        network.classify(input, n_threads, classes.get());
        for (Index i = 0; i < n; ++i) require(classes[i] >= 0 && classes[i] < sizes.back());
    } catch (const std::domain_error&) {  // logits that have overflowed
        require(*std::min_element(classes.get(), classes.get() + n) == -1);
    }
    network.dead_units(input, n_threads);
    network.finite();
}

// Samples in an array of any strides, which may overlap; what is not finite has to be refused.
template <class T, class S>
void try_dense(Data& data, Shape shape, bool large) {
    const auto any_stride = [&] { return pick(data, -40, 40); };
    const bool plain = data.ConsumeBool();
    const Index row_stride = plain ? shape.n_features : any_stride();
    const Index column_stride = plain ? 1 : any_stride();
    const Index last_row = (shape.n_samples - 1) * row_stride;
    const Index last_column = (shape.n_features - 1) * column_stride;
    const Index low = std::min<Index>(last_row, 0) + std::min<Index>(last_column, 0);
    const Index high = std::max<Index>(last_row, 0) + std::max<Index>(last_column, 0);
    const T scale = any_scale<T, S>(data);
    const Layout layout = any_layout(data);
    const auto memory = any_array<S>(data, high - low + 1);
    const S* first = memory.get() - low;

    List<T> expected;
    bool finite = true;
    for (Index i = 0; i < shape.n_samples; ++i) {
        for (Index j = 0; j < shape.n_features; ++j) {
            const S value = first[i * row_stride + j * column_stride];
            expected.push_back(static_cast<T>(value) * scale);
            finite = finite && std::isfinite(expected.back());
        }
    }
    const DenseSource source{first,      kStorage<S>,  shape.n_samples, shape.n_features,
                             row_stride, column_stride};
    try {
        const Input<T> input(source, scale, layout, 2);
        require(finite);
        check_rows<S>(input, expected);
        compute(data, input, large);
    } catch (const std::domain_error&) {
        require(!finite);
    }
}

// A CSR matrix: one that is nearly right, with some of its numbers replaced by any.
template <class T, class S, class I>
void try_csr(Data& data, Shape shape, bool large) {
    const T scale = any_scale<T, S>(data);
    const Index n = shape.n_samples, m = shape.n_features;
    const Items<I> row_start(n + 1);
    for (Index i = 0; i < n; ++i)
        row_start[i + 1] = row_start[i] + static_cast<I>(pick(data, 0, 6));
    const auto n_nonzero = static_cast<Index>(row_start[n]);
    const Items<I> columns(n_nonzero);
    for (Index i = 0; i < n; ++i) {
        Index column = -1;
        for (Index at = row_start[i]; at < row_start[i + 1]; ++at) {
            column += pick(data, 1, std::max<Index>(1, m / 4));
            columns[at] = static_cast<I>(column);
        }
    }
    for (Index left = pick(data, 0, 2); left > 0; --left) {
        row_start[pick(data, 0, n)] = data.ConsumeIntegral<I>();
        if (n_nonzero > 0) columns[pick(data, 0, n_nonzero - 1)] = data.ConsumeIntegral<I>();
    }
    const Items<S> values = any_array<S>(data, n_nonzero);

    List<T> expected(static_cast<std::size_t>(n * m));
    bool right = row_start[0] == 0, finite = true;
    for (Index i = 0; i < n && right; ++i) {
        right =
            row_start[i] <= row_start[i + 1] && static_cast<Index>(row_start[i + 1]) <= n_nonzero;
        Index previous = -1;
        for (Index at = row_start[i]; right && at < static_cast<Index>(row_start[i + 1]); ++at) {
            const auto column = static_cast<Index>(columns[at]);
            right = column > previous && column < m;
            if (!right) break;
            previous = column;
            const T value = static_cast<T>(values[at]) * scale;
            finite = finite && std::isfinite(value);
            expected[i * m + column] = value;
        }
    }
    const CsrSource<I> source{row_start.get(), columns.get(),    values.get(), kStorage<S>,
                              shape.n_samples, shape.n_features, n_nonzero};
    try {
        const Input<T> input(source, scale, 2);
        require(right && finite);
        check_rows<S>(input, expected);
        compute(data, input, large);
    } catch (const std::domain_error&) {
        require(!right || !finite);
    } catch (const std::invalid_argument&) {
        require(!right);
    }
}

// Calls f with a zero of one of some types.
template <class... Types, class F>
void with_any(Data& data, const F& f) {
    auto left = pick(data, 0, sizeof...(Types) - 1);
    ((left-- == 0 ? f(Types{}) : void()), ...);
}

template <class T>
void try_precision(Data& data, bool large) {
    with_any<std::uint8_t, float, double>(data, [&](auto number) {
        using S = decltype(number);
        const Shape shape{pick(data, 1, 20), pick(data, 1, large ? 300 : 40)};
        if (data.ConsumeBool()) return try_dense<T, S>(data, shape, large);
        with_any<std::int32_t, std::int64_t>(
            data, [&](auto index) { try_csr<T, S, decltype(index)>(data, shape, large); });
    });
}

}  // namespace
}  // namespace sae

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const std::vector<sae::Isa> isas = [] {
        sae::blas_init();
        return sae::available_isas();
    }();
    // One input in so many may have layers that are wide enough for BLAS or a cut by columns, which
    // take long. Which is left to chance, not to the fuzzer: it would like them too much.
    constexpr unsigned kLargeShare = 256;
    unsigned hash = 0;
    for (std::size_t i = 0; i < size; ++i) hash = hash * 31 + bytes[i];
    const bool large = (hash >> 8) % kLargeShare == 0;

    FuzzedDataProvider data(bytes, size);
    const auto isa = static_cast<std::size_t>(data.ConsumeIntegralInRange<int>(0, 2));
    sae::force_isa(sae::isa_name(isas[isa % isas.size()]));
    data.ConsumeBool() ? sae::try_precision<float>(data, large)
                       : sae::try_precision<double>(data, large);
    return 0;
}
