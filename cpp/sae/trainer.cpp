// SPDX-License-Identifier: BSD-3-Clause
#include "sae/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace sae {

namespace {

// Rows of w that one task updates: whole tiles of the kernels, small enough to share out evenly.
constexpr Index kTaskRows = kFewestColumns;
constexpr Index kWideTaskRows = 128;

// Rows of the batch are shared out in whole tiles.
constexpr Index kRowGrain = 4;

// Cost of a vector through Adam, in multiply-adds: a square root, a division and six memory
// accesses. It balances the shares of the threads and has no other effect.
constexpr double kAdamCost = 12;

// Multiply-adds of a step, in vectors, that make another thread worth its two barriers.
constexpr double kCostPerThread = 10000;

}  // namespace

template <class T>
Trainer<T>::Trainer(Network<T>& network, Moments<T>& moments, const Input<T>& input,
                    const std::int64_t* labels, const T* weights, const TrainerOptions& options)
    : network_(network),
      moments_(moments),
      input_(input),
      labels_(labels),
      weights_(weights),
      options_(options),
      work_(network.layers(), 0, network.n_layers(), options.batch_size),
      deltas_(network.layers(), 0, network.n_layers(), options.batch_size) {
    if (moments.m.size() != network.parameters().size()) {
        throw std::invalid_argument("moments of another network");
    }
}

// Whether a layer goes through BLAS, by columns; a sparse input never does.
template <class T>
bool Trainer<T>::wide(Index l) const {
    return network_.layers()[static_cast<std::size_t>(l)].wide() && !(l == 0 && input_.sparse());
}

// Cuts the parameters into tasks, with what each costs. A column of a sparse input without any
// non-zero never has a gradient, and Adam leaves its row of w as it is: such rows are in no task.
template <class T>
void Trainer<T>::plan(int n_threads) {
    std::vector<Task> tasks;
    const auto batch = static_cast<double>(options_.batch_size);
    constexpr double lanes = 32.0 / sizeof(T);
    for (Index l = 0; l < network_.n_layers(); ++l) {
        const Dense<T>& layer = network_.layers()[static_cast<std::size_t>(l)];
        const bool sparse = l == 0 && input_.sparse();
        const Index* nonzeros = sparse ? input_.column_sums(n_threads).nonzeros.data() : nullptr;
        const auto idle = [&](Index r) {
            return sparse && nonzeros[r] == 0 && options_.weight_decay == 0;
        };
        const double vectors = std::ceil(static_cast<double>(layer.n_out) / lanes);
        const Index step = wide(l) ? kWideTaskRows : kTaskRows;
        for (Index r = 0; r < layer.n_in;) {
            const Index begin = r;
            double products = 0;
            for (; r < std::min(begin + step, layer.n_in) && !idle(r); ++r) {
                products += sparse ? batch * static_cast<double>(nonzeros[r]) /
                                         static_cast<double>(input_.n_samples())
                                   : batch;
            }
            const auto rows = static_cast<double>(r - begin);
            if (r > begin) {
                tasks.push_back({l, {begin, r}, vectors * (products + rows * kAdamCost)});
            }
            while (r < layer.n_in && idle(r)) ++r;
        }
        if (sparse) n_sparse_tasks_ = static_cast<Index>(tasks.size());
        tasks.push_back({l, {layer.n_in, layer.n_in + 1}, vectors * (batch + kAdamCost)});
    }
    total_cost_ = 0;
    for (const Task& task : tasks) total_cost_ += task.cost;
    tasks_ = std::move(tasks);
}

// Threads that a step keeps busy, at most n_threads: never so many that it gets slower.
template <class T>
int Trainer<T>::team_size(int n_threads) const {
    const double useful = total_cost_ / kCostPerThread;
    return std::max(1, static_cast<int>(std::min<double>(n_threads, useful)));
}

template <class T>
void Trainer<T>::reserve_scratch(int n_threads) {
    Index dw = 0;
    for (Index l = 0; l < network_.n_layers(); ++l) {
        const Dense<T>& layer = network_.layers()[static_cast<std::size_t>(l)];
        if (wide(l)) dw = std::max(dw, kWideTaskRows * layer.w.ld);
    }
    while (static_cast<int>(scratch_.size()) < n_threads) {
        Scratch scratch;
        if (input_.sparse()) {
            scratch.samples = {input_, options_.batch_size};
            scratch.columns = {input_, options_.batch_size};
        }
        scratch.dw = Buffer<T>(dw);
        scratch_.push_back(std::move(scratch));
    }
}

// The consecutive tasks of one member: the same share of the cost for each, and the same tasks at
// every step, so that their parameters and moments stay in that core's cache.
template <class T>
Range Trainer<T>::task_share(Member member) const {
    const auto first_from = [&](double cost) {
        Index t = 0;
        for (double sum = 0; t < static_cast<Index>(tasks_.size()); ++t) {
            sum += tasks_[static_cast<std::size_t>(t)].cost;
            if (sum > cost) break;
        }
        return t;
    };
    const auto size = static_cast<double>(member.size);
    const Index begin = member.rank == 0 ? 0 : first_from(total_cost_ * member.rank / size);
    const Index end = member.rank + 1 == member.size
                          ? static_cast<Index>(tasks_.size())
                          : first_from(total_cost_ * (member.rank + 1) / size);
    return {begin, end};
}

// The coefficients of the step that is `step` (from 1) after those done. TensorFlow 1 adds epsilon
// to the uncorrected sqrt(v), PyTorch to the corrected.
template <class T>
AdamStep<T> Trainer<T>::adam_step(Index step) const {
    const auto t = static_cast<double>(moments_.steps_done + step);
    const double correction1 = 1 - std::pow(options_.beta1, t);
    const double correction2 = std::sqrt(1 - std::pow(options_.beta2, t));
    const bool tf1 = options_.adam == AdamForm::tf1;
    const double size = options_.learning_rate / correction1;
    // of a rate too small or too large for T, so that an idle weight's 0 / 0 is none
    const auto in_range = [](double x) {
        using Limits = std::numeric_limits<T>;
        return static_cast<T>(std::clamp(x, double{Limits::min()}, double{Limits::max()}));
    };
    return {static_cast<T>(1 - options_.beta1), static_cast<T>(1 - options_.beta2),
            in_range(1 / (size * correction2)),
            in_range(options_.epsilon / (size * (tf1 ? correction2 : 1))),
            static_cast<T>(options_.weight_decay)};
}

template <class T>
Index Trainer<T>::run(const std::int64_t* batches, Index n_steps, double max_seconds,
                      int n_threads) {
    using Clock = std::chrono::steady_clock;
    for (Index i = 0; i < n_steps * options_.batch_size; ++i) {
        if (batches[i] < 0 || batches[i] >= input_.n_samples()) {
            throw std::out_of_range("batches has sample " + std::to_string(batches[i]) + " of " +
                                    std::to_string(input_.n_samples()));
        }
    }
    if (tasks_.empty()) plan(n_threads);
    const auto deadline = Clock::now() + std::chrono::duration<double>(max_seconds);
    const int team = team_size(n_threads);
    reserve_scratch(team);
    Index done = 0;  // written by the first member, after the last step
    bool stop = false;
    run_team(team, [&](Member member) {
        Scratch& scratch = scratch_[static_cast<std::size_t>(member.rank)];
        const Range rows = member.share(options_.batch_size, kRowGrain);
        const Range tasks = task_share(member);
        Index step = 0;
        while (step < n_steps && !stop) {
            const std::int64_t* index = batches + step * options_.batch_size;
            const AdamStep<T> adam = adam_step(++step);
            forward(member, index, rows, scratch);
            if (wide(network_.n_layers() - 1)) member.barrier();
            loss_delta(index, rows);
            backward(member, rows);
            member.barrier();
            update(index, step < n_steps ? index + options_.batch_size : index, rows, adam, tasks,
                   scratch);
            // read by all after this barrier, written again only after the next step's first one
            if (member.rank == 0) stop = Clock::now() >= deadline;
            member.barrier();
        }
        if (member.rank == 0) done = step;
    });
    moments_.steps_done += done;
    return done;
}

template <class T>
void Trainer<T>::save_state() {
    const Index size = network_.parameters().size();
    if (!saved_.parameters.data()) {
        saved_ = {Buffer<T>(size), Buffer<T>(size), Buffer<T>(size), 0};
    }
    std::copy_n(network_.parameters().data(), size, saved_.parameters.data());
    std::copy_n(moments_.m.data(), size, saved_.m.data());
    std::copy_n(moments_.v.data(), size, saved_.v.data());
    saved_.steps_done = moments_.steps_done;
}

template <class T>
void Trainer<T>::restore_state() {
    if (!saved_.parameters.data()) return;
    const Index size = network_.parameters().size();
    std::copy_n(saved_.parameters.data(), size, network_.parameters().data());
    std::copy_n(saved_.m.data(), size, moments_.m.data());
    std::copy_n(saved_.v.data(), size, moments_.v.data());
    moments_.steps_done = saved_.steps_done;
    for (Index l = 0; l < network_.n_layers(); ++l) {
        network_.update_transposed(l, 0, network_.layers()[static_cast<std::size_t>(l)].n_in);
    }
}

template <class T>
void Trainer<T>::forward(const Member& member, const std::int64_t* index, Range rows,
                         Scratch& scratch) {
    const Kernels<T>& k = kernels<T>(active_isa());
    const Index batch = options_.batch_size;
    const Index n = rows.end - rows.begin;
    if (input_.sparse()) {
        const View<T> a = work_.a.front();
        scratch.samples.choose(index + rows.begin, 0, n);
        scratch.samples.forward(k, network_.layers().front(), {a.row(rows.begin), n, a.cols, a.ld});
    } else {
        input_.gather(index + rows.begin, 0, n,
                      {work_.x.row(rows.begin), n, work_.x.cols, work_.x.ld});
    }
    for (Index l = input_.sparse() ? 1 : 0; l < network_.n_layers(); ++l) {
        const auto at = static_cast<std::size_t>(l);
        if (wide(l) || (l > 0 && wide(l - 1))) member.barrier();
        if (wide(l)) {
            const Dense<T>& layer = network_.layers()[at];
            const Range columns = member.share(layer.n_out, kWideTile);
            const View<T> x = l == 0 ? work_.x : work_.a[at - 1];
            dense_forward_columns<T>(k, layer, {x.data, batch, layer.n_in, x.ld}, work_.a[at],
                                     columns.begin, columns.end);
        } else {
            network_.forward_rows(l, rows, work_);
        }
    }
}

// The gradient with respect to the last layer's output.
template <class T>
void Trainer<T>::loss_delta(const std::int64_t* index, Range rows) {
    const Kernels<T>& k = kernels<T>(active_isa());
    const View<T> a = work_.a.back();
    const View<T> delta = deltas_.a.back();
    for (Index i = rows.begin; i < rows.end; ++i) {
        if (options_.loss != Loss::squared_error) {
            classification_delta(k, options_.loss, a.cols, a.row(i), labels_[index[i]],
                                 delta.row(i));
        } else if (input_.sparse()) {
            T* to = delta.row(i);
            k.squared_error_delta(a.cols, a.row(i), nullptr, to);
            input_.for_each_nonzero(static_cast<Index>(index[i]),
                                    [&](Index j, T x) { to[j] -= 2 * x; });
        } else {
            k.squared_error_delta(a.cols, a.row(i), work_.x.row(i), delta.row(i));
        }
        if (weights_) {
            const T weight = weights_[index[i]];
            std::for_each_n(delta.row(i), delta.cols, [&](T& d) { d *= weight; });
        }
    }
}

template <class T>
void Trainer<T>::backward(const Member& member, Range rows) {
    const Kernels<T>& k = kernels<T>(active_isa());
    const Index n = rows.end - rows.begin;
    for (Index l = network_.n_layers() - 1; l > 0; --l) {
        const auto at = static_cast<std::size_t>(l);
        const Dense<T>& layer = network_.layers()[at];
        const bool relu = network_.layers()[at - 1].activation == Activation::relu;
        const View<T> delta = deltas_.a[at];
        const View<T> delta_in = deltas_.a[at - 1];
        const View<T> a_in = work_.a[at - 1];
        if (wide(l) || (l + 1 < network_.n_layers() && wide(l + 1))) member.barrier();
        if (wide(l)) {
            const Range columns = member.share(layer.n_in, kWideTile);
            dense_backward_columns<T>(k, layer, delta, relu ? a_in : View<T>{}, delta_in,
                                      columns.begin, columns.end);
        } else {
            const auto part = [&](View<T> all) {
                return View<const T>{all.row(rows.begin), n, all.cols, all.ld};
            };
            dense_backward<T>(k, layer, part(delta), relu ? part(a_in) : View<const T>{},
                              {delta_in.row(rows.begin), n, delta_in.cols, delta_in.ld});
        }
    }
}

template <class T>
void Trainer<T>::update(const std::int64_t* index, const std::int64_t* next, Range rows,
                        const AdamStep<T>& adam, Range tasks, Scratch& scratch) {
    const Kernels<T>& k = kernels<T>(active_isa());
    const Index sparse_end = std::clamp(n_sparse_tasks_, tasks.begin, tasks.end);
    update_sparse(index, adam, {tasks.begin, sparse_end}, scratch);
    prefetch(next, rows);
    for (Index t = sparse_end; t < tasks.end; ++t) {
        const Task& task = tasks_[static_cast<std::size_t>(t)];
        const auto at = static_cast<std::size_t>(task.layer);
        const Dense<T>& layer = network_.layers()[at];
        const View<T> delta = deltas_.a[at];
        const Index offset = layer.w.data - network_.parameters().data();
        if (task.rows.begin == layer.n_in) {
            const Index bias = offset + layer.n_in * layer.w.ld;
            dense_update_bias<T>(k, layer, delta, adam, moments_.m.data() + bias,
                                 moments_.v.data() + bias);
        } else {
            const View<T> x = task.layer == 0 ? work_.x : work_.a[at - 1];
            dense_update<T>(
                k, layer, x, delta, adam, moments_.m.data() + offset, moments_.v.data() + offset,
                task.rows.begin, task.rows.end,
                {scratch.dw.data(), task.rows.end - task.rows.begin, layer.n_out, layer.w.ld});
            network_.update_transposed(task.layer, task.rows.begin, task.rows.end);
        }
    }
}

// Rows of the first w. A row's gradient needs the non-zeros of its column, in the order of the
// batch.
template <class T>
void Trainer<T>::update_sparse(const std::int64_t* index, const AdamStep<T>& adam, Range tasks,
                               Scratch& scratch) {
    if (tasks.begin == tasks.end) return;
    const auto rows = [&](Index t) { return tasks_[static_cast<std::size_t>(t)].rows; };
    SparseColumns<T>& columns = scratch.columns;
    columns.choose(index, options_.batch_size, rows(tasks.begin).begin);
    for (Index first = tasks.begin, last; first < tasks.end; first = last) {
        const Index begin = rows(first).begin;
        for (last = first + 1; last < tasks.end; ++last) {
            if (rows(last).end - begin > columns.max_columns()) break;
        }
        columns.sort({begin, rows(last - 1).end});
        for (Index t = first; t < last; ++t) {
            columns.update(kernels<T>(active_isa()), network_.layers().front(), deltas_.a.front(),
                           adam, moments_.m.data(), moments_.v.data(), rows(t));
        }
    }
}

// Asks for what the next step will read from main memory: where samples are, then themselves.
template <class T>
void Trainer<T>::prefetch(const std::int64_t* index, Range rows) const {
    for (Index i = rows.begin; i < rows.end; ++i) {
        if (labels_) __builtin_prefetch(labels_ + index[i]);
        if (weights_) __builtin_prefetch(weights_ + index[i]);
        if (input_.sparse()) input_.prefetch(static_cast<Index>(index[i]));
    }
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace sae
