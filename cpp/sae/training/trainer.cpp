// SPDX-License-Identifier: BSD-3-Clause
#include "sae/training/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>

namespace sae {

namespace {

// Rows of the batch are shared out in whole tiles, units for penalties in whole vectors.
constexpr Index kRowGrain = 4;
template <class T>
constexpr Index kUnitGrain = kAlignment / sizeof(T);

template <class T>
void copy(const Buffer<T>& from, Buffer<T>& to) {
    if (to.size() != from.size()) to = Buffer<T>(from.size());
    std::copy_n(from.data(), from.size(), to.data());
}

}  // namespace

template <class T>
Trainer<T>::Trainer(Network<T>& network, const Optimizer& optimizer, OptimizerState<T>& state,
                    const Source<T>& source, const Corruption<T>* corruption,
                    const List<Dropout>& dropout, Objective objective, Index batch_size)
    : network_(network),
      optimizer_(optimizer),
      state_(state),
      corruption_(corruption),
      loss_(find_loss<T>(objective.loss)),
      top_(loss_.applied(network.layers().back().activation)),
      objective_(objective),
      code_penalties_(objective.penalties, network),
      batch_size_(batch_size > 0
                      ? batch_size
                      : throw std::invalid_argument("expected a batch size of at least 1")),
      a_(network.layers(), 0, network.n_layers(), batch_size),
      dropped_(static_cast<std::size_t>(network.n_layers())),
      deltas_(network.layers(), 0, network.n_layers(), batch_size) {
    bool fits = state.slots.count() == optimizer.n_slots;
    for (const Buffer<T>& slot : state.slots) {
        fits = fits && slot.size() == network.parameters().size();
    }
    if (!fits) throw std::invalid_argument("state of another network or optimizer");
    for (Index l = 0; network.tied() && !network.copies(l); ++l) {
        gradients_.emplace_back(network.layer(l).n_in, network.layer(l).n_out);
    }
    set_source(source);
    if (!dropout.empty() && dropout.count() != network.n_layers() - 1) {
        throw std::invalid_argument("expected a dropout for each hidden layer");
    }
    for (Index l = 0; l < dropout.count(); ++l) {
        const auto [share, key] = dropout[l];
        if (!(share >= 0 && share < 1)) {
            throw std::invalid_argument("expected a dropout from 0 to below 1");
        }
        if (share == 0) continue;
        const Index n_out = network.layer(l).n_out;
        dropped_[l] = {Choice(share, key),
                       static_cast<T>(1 / (1 - share)),
                       {batch_size, n_out},
                       {batch_size, n_out}};
    }
}

template <class T>
void Trainer<T>::set_source(const Source<T>& source) {
    network_.check(source.input(), 0, network_.n_layers());
    loss_.check(source, network_.layers().back().n_out);
    if (corruption_ && corruption_->emphasizes() &&
        (loss_.target() != Target::values || source.has_targets())) {
        throw std::invalid_argument("emphasis on features: expected a loss of their values");
    }
    batch_ =
        source.make_batch(batch_size_, {corruption_ && !corruption_->keeps_sparse(),
                                        loss_.target() == Target::values && !loss_.reads_sparse(),
                                        corruption_ != nullptr});
    source_ = &source;
    plan_ = plan_of_all_ = {};
    scratch_.clear();
}

// A column of a sparse input without any non-zero never has a gradient: the update rule leaves its
// row of w as it is, if nothing is left in its state either.
template <class T>
Plan Trainer<T>::plan(bool all, int n_threads) const {
    const auto batch = static_cast<double>(batch_size_);
    const Index* nonzeros = nullptr;
    if (sparse() && !all) nonzeros = source_->input().column_sums(n_threads).nonzeros.data();
    const auto at_rest = [&](Index r) {
        const Index ld = network_.layer(0).w.ld;
        return objective_.weight_decay == 0 && optimizer_.weight_decay == 0 && !network_.tied() &&
               objective_.penalties.l1 == 0 && objective_.penalties.contractive == 0 &&
               std::all_of(state_.slots.begin(), state_.slots.end(), [&](const Buffer<T>& slot) {
                   const T* row = slot.data() + r * ld;
                   return std::all_of(row, row + ld, [](T value) { return value == T(0); });
               });
    };
    return Plan(network_, sparse(), batch_size_, [&](Index l, Index r) {
        const double twice = network_.tied() ? batch : 0;
        if (l > 0 || !nonzeros) return batch * x(l).density + twice;
        if (nonzeros[r] == 0 && at_rest(r)) return -1.0;
        const auto n = static_cast<double>(source_->n_samples());
        return batch * static_cast<double>(nonzeros[r]) / n + twice;
    });
}

template <class T>
void Trainer<T>::check(const List<std::int64_t>& samples) const {
    for (const std::int64_t sample : samples) {
        if (sample < 0 || sample >= source_->n_samples()) {
            throw std::out_of_range("batches has sample " + std::to_string(sample) + " of " +
                                    std::to_string(source_->n_samples()));
        }
    }
}

template <class T>
void Trainer<T>::reserve_scratch(int n_threads) {
    while (scratch_.count() < n_threads) {
        Scratch scratch;
        for (Index l = 0; l < network_.n_layers(); ++l) {
            strategy(l).reserve(scratch.workspace, x(l), batch_size_, true);
        }
        scratch_.push_back(std::move(scratch));
    }
}

template <class T>
int Trainer<T>::team_size(int n_threads) {
    if (plan_.empty()) plan_ = plan(false, n_threads);
    return plan_.team_size(n_threads);
}

template <class T>
Index Trainer<T>::run(const std::int64_t* batches, const double* learning_rates, Index n_steps,
                      double max_seconds, int n_threads) {
    using Clock = std::chrono::steady_clock;
    batches_.assign(batches, batches + n_steps * batch_size_);
    check(batches_);
    batch_.first = 0;
    const int team = team_size(n_threads);
    const auto deadline = Clock::now() + std::chrono::duration<double>(max_seconds);
    reserve_scratch(team);
    Index done = 0;  // written by the first member, after the last step
    bool stop = false;
    run_team(team, [&](Member member) {
        Scratch& scratch = scratch_[member.rank];
        scratch.shares = plan_.share(member);
        const Index n_shares = scratch.shares.count();
        const Range rows = member.share(batch_size_, kRowGrain);
        Index step = 0;
        while (step < n_steps && !stop) {
            const std::int64_t* index = batches_.data() + step * batch_size_;
            const double learning_rate = learning_rates[step];
            const Index number = state_.steps_done + ++step;
            const UpdateStep<T> rule = update_step(learning_rate, number);
            differentiate(member, index, batch_size_, number, scratch);
            // what the next step reads from main memory is asked for after the first share, which
            // may be the sparse layer's and takes longest
            const Index first = std::min<Index>(n_shares, 1);
            update(rule, scratch, 0, first);
            source_->prefetch(step < n_steps ? index + batch_size_ : index, rows);
            update(rule, scratch, first, n_shares);
            if (objective_.penalties.max_norm != 0) limit_norms(member);
            // read by all after this barrier, written again only after the next step's first one
            if (member.rank == 0) stop = Clock::now() >= deadline;
            member.barrier();
        }
        if (member.rank == 0) done = step;
    });
    state_.steps_done += done;
    return done;
}

template <class T>
void Trainer<T>::gradient(const std::int64_t* samples, Index n, Index first, int n_threads,
                          T* out) {
    const Penalties& penalties = objective_.penalties;
    if (penalties.kl_sparsity != 0 || penalties.contractive != 0) {
        throw std::invalid_argument("expected no penalty of a whole batch, on a part of one");
    }
    if (corruption_ && corruption_->reads_others()) {
        throw std::invalid_argument("expected no corruption by a whole batch, on a part of one");
    }
    batches_.assign(samples, samples + n);
    check(batches_);
    if (plan_of_all_.empty()) plan_of_all_ = plan(true, n_threads);
    const int team = plan_of_all_.team_size(n_threads);
    reserve_scratch(team);
    const Index n_chunks = (n + batch_size_ - 1) / batch_size_;
    // sums that wait at a time, `out` aside: one for each digit of the number of a chunk
    for (Index i = 1; i < n_chunks; i *= 2) {
        if (sums_.count() <= std::ilogb(i)) sums_.push_back(new_gradient());
    }
    batch_.first = first;
    const auto sum = [&](Index level) { return level == 0 ? out : sums_[level - 1].data(); };
    run_team(team, [&](Member member) {
        Scratch& scratch = scratch_[member.rank];
        scratch.shares = plan_of_all_.share(member);
        // f for what is this member's of the parameters, some from a place on
        const auto for_own = [&](const auto& f) {
            for (const LayerShare& share : scratch.shares) {
                const Dense<T>& layer = network_.layer(share.layer);
                if (share.bias) f(network_.offset(layer.b), layer.w.ld);
                for (const Range rows : share.stretches) {
                    f(network_.offset(layer.w.row(rows.begin)), rows.count() * layer.w.ld);
                }
            }
        };
        Index height = 0;
        const auto add_two = [&] {
            --height;
            T *const to = sum(height - 1), *const from = sum(height);
            for_own([&](Index at, Index count) { accumulate(count, from + at, to + at); });
        };
        for (Index chunk = 0; chunk < n_chunks; ++chunk) {
            const Index before = chunk * batch_size_, rows = std::min(n - before, batch_size_);
            differentiate(member, batches_.data() + before, rows, state_.steps_done + 1, scratch);
            T* const own = sum(height++);
            for_own([&](Index at, Index count) { std::fill_n(own + at, count, T(0)); });
            for (const LayerShare& share : scratch.shares) {
                const Dense<T>& layer = network_.layer(share.layer);
                T* const to = own + network_.offset(share.bias ? layer.b : layer.w.data);
                if (share.bias) {
                    strategy(share.layer).bias_gradient(deltas_[share.layer].part({0, rows}), to);
                } else {
                    add_gradient(share.layer, rows, {to, layer.n_in, layer.n_out, layer.w.ld},
                                 share.stretches, scratch);
                }
            }
            for (Index i = chunk; i % 2 == 1; i /= 2) add_two();
            if (member.rank == 0) batch_.first = first + before + rows;
            member.barrier();
        }
        while (height > 1) add_two();
    });
}

template <class T>
void Trainer<T>::update(const T* gradient, double learning_rate, int n_threads) {
    if (plan_of_all_.empty()) plan_of_all_ = plan(true, n_threads);
    const UpdateStep<T> step = update_step(learning_rate, state_.steps_done + 1);
    const Kernels<T>& k = kernels<T>(active_isa());
    run_team(plan_of_all_.team_size(n_threads), [&](Member member) {
        for (const LayerShare& share : plan_of_all_.share(member)) {
            const Dense<T>& layer = network_.layer(share.layer);
            const LayerUpdate<T> update = layer_update(step, share.layer, share.bias);
            const T* const from = gradient + network_.offset(share.bias ? layer.b : layer.w.data);
            if (share.bias) {
                k.update({from, 1, layer.n_out, layer.w.ld}, step.of_biases(), update.rows);
            }
            const View<const T> dw{from, layer.n_in, layer.n_out, layer.w.ld};
            for (const Range rows : share.stretches) {
                k.update(dw.part(rows), step, update.from(rows.begin));
                network_.refresh(share.layer, rows, {0, layer.n_out});
            }
        }
        if (objective_.penalties.max_norm != 0) limit_norms(member);
    });
    ++state_.steps_done;
}

template <class T>
UpdateStep<T> Trainer<T>::update_step(double learning_rate, Index number) const {
    UpdateStep<T> step = optimizer_.update_step<T>(number, learning_rate, objective_.weight_decay);
    step.l1 = held<T>(objective_.penalties.l1);
    return step;
}

template <class T>
LayerUpdate<T> Trainer<T>::layer_update(const UpdateStep<T>& step, Index l, bool bias) const {
    const Dense<T>& layer = network_.layer(l);
    const Index offset = network_.offset(bias ? layer.b : layer.w.data);
    LayerUpdate<T> update{step, {network_.parameters().data() + offset, {}, layer.w.ld}};
    for (Index s = 0; s < state_.slots.count(); ++s) {
        update.rows.slots[s] = state_.slots[s].data() + offset;
    }
    return update;
}

template <class T>
void Trainer<T>::save_state() {
    copy(network_.parameters(), saved_.parameters);
    saved_.slots.resize(state_.slots.size());
    for (Index i = 0; i < state_.slots.count(); ++i) copy(state_.slots[i], saved_.slots[i]);
    saved_.steps_done = state_.steps_done;
}

template <class T>
void Trainer<T>::restore_state() {
    if (!saved_.parameters.data()) return;
    const Buffer<T>& to = network_.parameters();
    std::copy_n(saved_.parameters.data(), to.size(), to.data());
    for (Index i = 0; i < state_.slots.count(); ++i) copy(saved_.slots[i], state_.slots[i]);
    state_.steps_done = saved_.steps_done;
    network_.refresh();
}

// The columns that a member computes of a layer's product: its own if the work is cut that way,
// else all of them, of its own rows.
template <class T>
Range Trainer<T>::columns_of_member(const Member& member, Index l, Index n_columns) const {
    return by_columns(l) ? member.share(n_columns, strategy(l).tile()) : Range{0, n_columns};
}

template <class T>
void Trainer<T>::draw_dropout(Range rows, Index step) {
    for (const Dropped& dropped : dropped_) {
        const View<std::uint8_t> chosen = dropped.chosen;
        for (Index i = rows.begin; chosen.data && i < rows.end; ++i) {
            dropped.choice.choose(chosen.cols, batch_.first + i, step, chosen.row(i));
        }
    }
}

template <class T>
void Trainer<T>::drop(Index l, Range rows, Range columns, View<T> from, View<T> to) const {
    const Dropped& dropped = dropped_[l];
    if (!dropped.chosen.data) return;
    const T scale = dropped.scale;
    for (Index i = rows.begin; i < rows.end; ++i) {
        const std::uint8_t* const chosen = dropped.chosen.row(i);
        const T* const a = from.row(i);
        T* const kept = to.row(i);
        for (Index j = columns.begin; j < columns.end; ++j) {
            const T scaled = a[j] * scale;
            kept[j] = chosen[j] ? T(0) : scaled;
        }
    }
}

template <class T>
void Trainer<T>::differentiate(const Member& member, const std::int64_t* index, Index n,
                               Index number, Scratch& scratch) {
    const Range rows = member.share(n, kRowGrain);
    source_->read(index, 0, rows, batch_);
    if (corruption_) {
        if (corruption_->reads_others()) member.barrier();
        corruption_->apply(batch_, rows, number);
    }
    draw_dropout(rows, number);
    forward(member, rows, n, scratch);
    if (by_columns(network_.n_layers() - 1)) member.barrier();
    loss_delta(rows);
    backward(member, rows, n, scratch);
    member.barrier();
}

template <class T>
void Trainer<T>::forward(const Member& member, Range rows, Index n, Scratch& scratch) {
    const Range all{0, n};
    for (Index l = 0; l < network_.n_layers(); ++l) {
        const bool columns = by_columns(l);
        // what keeps few is whole already
        const bool apart = l > 0 && by_columns(l - 1) && network_.layer(l - 1).kept == 0;
        if (columns || apart) member.barrier();
        const Range mine = columns ? all : rows;
        const Dense<T>& layer = network_.layer(l);
        const Activation f = l + 1 < network_.n_layers() ? layer.activation : top_;
        const Range units = columns_of_member(member, l, layer.n_out);
        strategy(l).forward(x(l).part(mine), f, a_[l].part(mine), units, scratch.workspace);
        if (layer.kept == 0) {
            drop(l, mine, units, a_[l], output(l));
            continue;
        }
        if (columns) member.barrier();
        network_.keep_largest(l, a_[l].part(rows));
        drop(l, rows, {0, layer.n_out}, a_[l], output(l));
        a_.pack(l, output(l), rows);
    }
}

// The gradient with respect to the last layer's pre-activations.
template <class T>
void Trainer<T>::loss_delta(Range rows) {
    const Kernels<T>& k = kernels<T>(active_isa());
    const View<T> a = a_.back(), deltas = deltas_.back();
    for (Index i = rows.begin; i < rows.end; ++i) {
        T* delta = deltas.row(i);
        loss_.delta(a.cols, a.row(i), batch_, i, delta);
        if (corruption_ && corruption_->emphasizes()) corruption_->emphasize(batch_, i, delta);
        const Range row{i, i + 1};
        if (top_ != Activation::linear) k.derive(top_, a.part(row), deltas.part(row));
        if (batch_.weights) {
            const T weight = batch_.weights[i];
            std::for_each_n(delta, deltas.cols, [&](T& d) { d *= weight; });
        }
    }
}

template <class T>
void Trainer<T>::backward(const Member& member, Range rows, Index n, Scratch& scratch) {
    const Range all{0, n};
    bool complete = true;  // whether all of the delta that is read next is there
    for (Index l = network_.n_layers() - 1; l > 0; --l) {
        const bool columns = by_columns(l);
        if (columns || !complete) member.barrier();
        const Range mine = columns ? all : rows;
        const Range units = columns_of_member(member, l, network_.layer(l).n_in);
        strategy(l).backward(deltas_[l].part(mine), network_.layer(l - 1).activation,
                             a_[l - 1].part(mine), deltas_[l - 1].part(mine), units,
                             scratch.workspace);
        drop(l - 1, mine, units, deltas_[l - 1], deltas_[l - 1]);
        complete = !columns;
        if (!code_penalties_.any() || code_penalties_.layer() != l - 1) continue;
        member.barrier();
        code_penalties_.add_gradient(a_[l - 1].part(all), batch_.weights, deltas_[l - 1].part(all),
                                     member.share(network_.layer(l).n_in, kUnitGrain<T>));
        complete = false;
    }
}

// Of the weights into each hidden unit, after all have been updated.
template <class T>
void Trainer<T>::limit_norms(const Member& member) {
    member.barrier();
    for (Index l = 0; l + 1 < network_.n_layers() && !network_.copies(l); ++l) {
        const Dense<T>& layer = network_.layer(l);
        const Range units = member.share(layer.n_out, kUnitGrain<T>);
        kernels<T>(active_isa())
            .limit_norms(layer.w.columns(units), held<T>(objective_.penalties.max_norm));
        network_.refresh(l, {0, layer.n_in}, units);
    }
}

template <class T>
void Trainer<T>::update(const UpdateStep<T>& step, Scratch& scratch, Index first, Index last) {
    for (Index i = first; i < last; ++i) {
        const LayerShare& share = scratch.shares[i];
        LayerUpdate<T> update = layer_update(step, share.layer, share.bias);
        if (share.layer == code_penalties_.layer()) update.step.decay = code_penalties_.decay();
        if (share.bias) {
            strategy(share.layer).update_bias(deltas_[share.layer], update);
        } else if (network_.tied()) {
            update_tied(share, update, scratch);
        } else {
            strategy(share.layer)
                .update(x(share.layer), deltas_[share.layer], update, share.stretches,
                        scratch.workspace);
        }
    }
}

// dw = x^T delta and, if a mirror m has w transposed, delta_m^T x_m.
template <class T>
void Trainer<T>::add_gradient(Index l, Index n, View<T> dw, const List<Range>& stretches,
                              Scratch& scratch) {
    const Range all{0, n};
    Workspace<T>& workspace = scratch.workspace;
    strategy(l).gradient(x(l).part(all), deltas_[l].part(all), dw, stretches, workspace);
    if (!network_.tied()) return;
    const Index mirror = network_.mirror(l);
    network_.strategy(l, false).gradient(Rows<T>(deltas_[mirror].part(all)),
                                         output(mirror - 1).part(all), dw, stretches, workspace);
}

template <class T>
void Trainer<T>::update_tied(const LayerShare& share, const LayerUpdate<T>& update,
                             Scratch& scratch) {
    const Index l = share.layer;
    const View<T> dw = gradients_[l];
    for (const Range rows : share.stretches) {
        std::fill(dw.row(rows.begin), dw.row(rows.end), T(0));
    }
    add_gradient(l, batch_size_, dw, share.stretches, scratch);
    for (const Range rows : share.stretches) {
        kernels<T>(active_isa()).update(dw.part(rows), update.step, update.from(rows.begin));
        network_.refresh(l, rows, {0, dw.cols});
    }
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace sae
