// Plays five trading days through the plain engine, one call a message, while another thread reads
// the reports: days [ORDERS] [SEED] [ROUNDS] [FOLDER]. What happened is written into the folder.
//
// The days are those of "The World's Fastest Matching Engine Algorithm" (arXiv 2606.01183) and of
// the benchmark published with it, message for message: 15 % of the orders are IOC, 20 % of the
// others are modified, 95 % cancelled, 2 % of the cancels come twice; the middle of the market
// stands still, moves by 2 %, swings by 25 and 40 % or crashes by 60 %.
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "plain_engine.h"

namespace {

struct Day {
    const char* name;
    double volatility;
    double swing;
    double reached;  // M messages/s, median of the rounds
};

enum { kNew, kCancel, kModify };

struct Message {
    std::uint64_t kind;
    union {
        plain_new order;
        plain_cancel cancel;
        plain_modify modify;
    };
};
static_assert(sizeof(Message) == 40 && sizeof(plain_report) == 64, "as the files have them");

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "days: %s\n", what);
    std::exit(1);
}

// ---- the days -----------------------------------------------------------------------------------

constexpr double kTick = 0.005, kFirstMid = 167.52;
constexpr int kDepths = 800;
constexpr double kMedianLife = 431.0;  // of an order that is cancelled, us

// Numbers that are the same with every compiler: only mt19937 itself is standardized.
struct Dice {
    std::mt19937 words;

    double uniform() {
        const std::uint64_t high = words() >> 5, low = words() >> 6;
        return (high * 67108864.0 + low) / 9007199254740992.0;
    }
    std::uint32_t up_to(std::uint32_t least, std::uint32_t most) {
        return least + static_cast<std::uint32_t>(uniform() * (most - least + 1));
    }
    double normal() {
        const double one = std::max(uniform(), 1e-300), other = uniform();
        return std::sqrt(-2.0 * std::log(one)) * std::cos(2.0 * M_PI * other);
    }
    double exponential(double rate) { return -std::log(std::max(uniform(), 1e-300)) / rate; }
};

// Ticks from the middle: a power law with a hump at 8.
struct Depths {
    double sums[kDepths];

    Depths() {
        double sum = 0;
        for (int depth = 0; depth < kDepths; depth++) {
            const double from_hump = depth - 8.0;
            sum += 1.0 / std::pow(depth + 1.0, 2.23) + 5.0 * std::exp(-0.5 * from_hump * from_hump);
            sums[depth] = sum;
        }
    }
    int draw(Dice& dice) const {
        const double* end = sums + kDepths;
        return std::min<int>(std::lower_bound(sums, end, dice.uniform() * end[-1]) - sums,
                             kDepths - 1);
    }
};

struct Placed {
    std::uint8_t side;
    std::int64_t price;
    std::uint32_t lots;
    int depth;
};

// Buys stand below the first half of the middle's path, sells above the second.
std::vector<Placed> placed(const Day& day, std::size_t orders, Dice& dice) {
    const Depths depths;
    // In the order of the published program, so that the last bit is the same.
    const double years =
        day.volatility > 0 ? std::pow(day.swing / day.volatility, 2.0) / orders : 0;
    const double sigma = day.volatility * std::sqrt(years);
    std::vector<Placed> all;
    double mid = kFirstMid;
    for (std::size_t i = 0; i < orders; i++) {
        mid *= std::exp(-0.5 * sigma * sigma + sigma * dice.normal());
        const std::int64_t ticks = std::llround(std::round(mid / kTick) * kTick / kTick);
        const int depth = depths.draw(dice);
        const bool buys = i < orders / 2;
        const std::int64_t price = buys ? ticks - (depth + 1) : ticks + (depth + 1);
        const std::uint8_t side = buys ? PLAIN_BUY : PLAIN_SELL;
        all.push_back({side, std::max<std::int64_t>(price, 1), dice.up_to(1, 100), depth});
    }
    return all;
}

struct Timed {
    std::int64_t at;  // us
    Message message;
};

// An order's life: new, perhaps a modify, nearly always a cancel, sometimes once more of each.
void live(const Placed& p, std::uint64_t id, Dice& dice, std::int64_t& now,
          std::vector<Timed>& out) {
    const auto add = [&](std::uint64_t kind, std::int64_t price, std::uint32_t lots) -> Message& {
        Timed t{now, {}};
        t.message.kind = kind;
        if (kind == kNew) t.message.order = {id, 0, price, lots, p.side, PLAIN_LIMIT, {}};
        if (kind == kCancel) t.message.cancel = {id, 0};
        if (kind == kModify) t.message.modify = {id, 0, price, lots, {}};
        out.push_back(t);
        return out.back().message;
    };
    const bool ioc = dice.uniform() < 0.15;
    add(kNew, p.price, p.lots).order.type = ioc ? PLAIN_IOC : PLAIN_LIMIT;
    if (!ioc) {
        std::int64_t price = p.price;
        const bool modified = dice.uniform() < 0.20;
        if (modified) {
            now += 30 + static_cast<std::int64_t>(dice.uniform() * 70);
            if (dice.uniform() < 0.80) price += p.side == PLAIN_BUY ? 1 : -1;
            add(kModify, price, p.lots + 1);
        }
        const bool cancelled = dice.uniform() < 0.95;
        if (cancelled) {
            const double rate = std::log(2.0) / kMedianLife / std::sqrt(1.0 + p.depth);
            now += static_cast<std::int64_t>(dice.exponential(rate));
            add(kCancel, 0, 0);
            if (dice.uniform() < 0.02) {
                now += 1 + static_cast<std::int64_t>(dice.uniform() * 20);
                add(kCancel, 0, 0);
            }
        }
        if (modified && cancelled && dice.uniform() < 0.02) {
            now += 1 + static_cast<std::int64_t>(dice.uniform() * 20);
            add(kModify, price, p.lots + 1);
        }
    }
    now += 1;
}

std::vector<Message> messages_of(const Day& day, std::size_t orders, std::uint32_t seed) {
    Dice dice{std::mt19937(seed)};
    const std::vector<Placed> all = placed(day, orders, dice);
    std::vector<std::size_t> arrival(orders);
    std::iota(arrival.begin(), arrival.end(), 0);
    for (std::size_t i = orders - 1; i > 0; i--) {
        std::swap(arrival[i], arrival[dice.up_to(0, static_cast<std::uint32_t>(i))]);
    }
    std::vector<Timed> timed;
    std::int64_t now = 0;
    for (std::size_t at : arrival) live(all[at], at + 1, dice, now, timed);
    std::stable_sort(timed.begin(), timed.end(),
                     [](const Timed& a, const Timed& b) { return a.at < b.at; });
    std::vector<Message> messages;
    for (Timed& t : timed) {
        // The number stands at the same place in all three.
        t.message.cancel.sequence = messages.size();
        messages.push_back(t.message);
    }
    return messages;
}

// ---- one run ------------------------------------------------------------------------------------

void pin(unsigned core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    // Without a second core both threads share the first, and the figures say little.
    pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
}

double seconds(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

struct Reader {
    plain_engine* engine;
    std::vector<plain_report> reports;
    std::atomic<bool> last{false};

    void run() {
        pin(1);
        std::size_t count = 0;
        for (;;) {
            const bool ending = last.load(std::memory_order_acquire);
            if (reports.size() - count < 256) fail("more reports than there is room for");
            const std::uint32_t some = plain_engine_read(engine, &reports[count], 256);
            count += some;
            if (some == 0 && ending) break;
        }
        reports.resize(count);
    }
};

void play(plain_engine* engine, const std::vector<Message>& messages) {
    for (const Message& m : messages) {
        if (m.kind == kNew) plain_engine_new(engine, &m.order);
        else if (m.kind == kCancel) plain_engine_cancel(engine, &m.cancel);
        else plain_engine_modify(engine, &m.modify);
    }
}

// Every message has its answer, in order, and no report is missing.
void check(const std::vector<Message>& messages, const std::vector<plain_report>& reports) {
    std::size_t answered = 0;
    for (std::size_t i = 0; i < reports.size(); i++) {
        const plain_report& r = reports[i];
        if (r.number != i + 1) fail("a report is missing");
        const bool next = answered < messages.size() && r.sequence == answered;
        const bool more = answered > 0 && r.sequence == answered - 1;
        if (!next && !more) fail("a report came out of order");
        answered += next;
    }
    if (answered != messages.size()) fail("a message was not answered");
}

void write(const std::string& path, const void* data, std::size_t size, std::size_t count) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr || std::fwrite(data, size, count, file) != count) fail("cannot write");
    if (std::fclose(file) != 0) fail("cannot write");
}

void save(const std::string& folder, const Day& day, const std::vector<Message>& messages,
          const Reader& reader) {
    const std::string path = folder + "/" + day.name;
    write(path + ".messages", messages.data(), sizeof(Message), messages.size());
    write(path + ".reports", reader.reports.data(), sizeof(plain_report), reader.reports.size());
    std::vector<plain_new> resting;
    for (int side : {PLAIN_BUY, PLAIN_SELL}) {
        std::vector<plain_new> some(plain_engine_orders(reader.engine, side, nullptr, 0));
        plain_engine_orders(reader.engine, side, some.data(), some.size());
        resting.insert(resting.end(), some.begin(), some.end());
    }
    write(path + ".orders", resting.data(), sizeof(plain_new), resting.size());
}

// M messages a second on the wall clock, and in processor time of the matching thread.
std::pair<double, double> round_of(const Day& day, const std::vector<Message>& messages,
                                   const std::string& folder) {
    const plain_terms terms{1, 1 << 24, 1 << 17, 1 << 14};
    plain_engine* engine = plain_engine_create(&terms);
    if (engine == nullptr) fail("no engine");
    Reader reader;
    reader.engine = engine;
    // Filled: the pages of the answers are the reader's.
    reader.reports.assign(3 * messages.size() + 1024, plain_report{});
    std::thread thread(&Reader::run, &reader);
    const double wall = seconds(CLOCK_MONOTONIC), own = seconds(CLOCK_THREAD_CPUTIME_ID);
    play(engine, messages);
    const double own_end = seconds(CLOCK_THREAD_CPUTIME_ID), wall_end = seconds(CLOCK_MONOTONIC);
    reader.last.store(true, std::memory_order_release);
    thread.join();
    check(messages, reader.reports);
    if (!folder.empty()) save(folder, day, messages, reader);
    plain_engine_destroy(engine);
    const double millions = messages.size() * 1e-6;
    return {millions / (wall_end - wall), millions / (own_end - own)};
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
    const std::size_t orders = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000000;
    const unsigned long seed = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 23;
    const int rounds = argc > 3 ? std::atoi(argv[3]) : 7;
    const std::string folder = argc > 4 ? argv[4] : "";
    if (orders < 2 || orders > 100000000 || seed > 0xFFFFFFFF || rounds < 1) {
        fail("wrong arguments");
    }
    Day days[] = {{"static", 0, 0, 0},          {"normal", 0.15, 0.02, 0},
                  {"swing-25", 0.5, 0.25, 0},   {"swing-40", 0.5, 0.40, 0},
                  {"flash-crash", 0.5, 0.60, 0}};
    pin(0);
    std::printf("%-12s %10s %22s %22s\n", "day", "messages", "M messages/s", "of processor time");
    for (Day& day : days) {
        const std::vector<Message> messages =
            messages_of(day, orders, static_cast<std::uint32_t>(seed));
        std::vector<double> wall, own;
        for (int round = 0; round < rounds; round++) {
            const auto [on_wall, on_own] = round_of(day, messages, round == 0 ? folder : "");
            wall.push_back(on_wall);
            own.push_back(on_own);
        }
        day.reached = median(wall);
        std::printf("%-12s %10zu %22.2f %22.2f\n", day.name, messages.size(), day.reached,
                    median(own));
    }
    const Day* worst = std::min_element(
        std::begin(days), std::end(days),
        [](const Day& a, const Day& b) { return a.reached < b.reached; });
    std::printf("worst: %s, %.2f M messages/s\n", worst->name, worst->reached);
    return 0;
}
