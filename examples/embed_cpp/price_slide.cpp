// A venue inside a C++ program: it makes an engine through perpcore's table, opens an isolated
// block of 0.05 BTC at leverage 20 and lets the price fall by 10 %. No Cython, no perpcore library
// to link with: the table is the whole connection.
#include <Python.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "perpcore/api.h"

namespace {

const perpcore_api* api = nullptr;

constexpr std::uint64_t kAdminKey = 0x5EC4E7;  // chosen by the host and kept from traders
constexpr std::int64_t kUsd = 100'000'000;     // money units of one dollar
constexpr std::int64_t kTicksPerUsd = 10;
constexpr std::uint32_t kMaker = 0, kAnn = 1;

void require(int status, const char* what) {
    if (status != PERPCORE_STATUS_OK) {
        throw std::runtime_error(std::string(what) + ": status " + std::to_string(status));
    }
}

perpcore_contract_terms btc_terms() {
    perpcore_contract_terms t{};
    std::strcpy(t.symbol, "BTCUSD-PERP");
    t.tick_size_e12 = 100'000'000'000;  // 0.1 USD
    t.lot_size_e9 = 100'000;            // 0.0001 BTC
    t.multiplier = 1;
    t.marks_per_tick = 1;
    t.max_price_ticks = 1'000'000 * kTicksPerUsd;
    t.min_order_lots = 1;
    t.max_order_lots = 50'000'000;
    t.max_position_lots = 100'000'000;
    t.liquidation_slice_lots = 200'000;
    t.inventory_limit_lots = 400'000'000;
    t.work_off_slice_lots = 10'000;
    t.taker_fee_e9 = 500'000;
    t.maker_fee_e9 = 200'000;
    t.liquidation_fee_e9 = 5'000'000;
    t.maintenance_share_e4 = 5'000;
    t.unit_margin_rate_e15 = 2'000'000;
    t.max_leverage = 100;
    t.band_aggressive_e9 = 50'000'000;
    t.band_passive_e9 = 500'000'000;
    t.work_off_band_e9 = 5'000'000;
    t.funding_cap_e9 = 750'000;
    t.kind = 1;
    return t;
}

perpcore_venue_terms venue_terms() {
    perpcore_venue_terms t{};
    t.fund_opening_units[0] = 100'000 * kUsd;
    t.usdc_haircut_e9 = 20'000'000;
    t.max_orders_per_account = 200;
    t.max_blocks_per_account = 20;
    t.account_capacity = 8;
    t.unit_capacity = 64;
    t.leg_capacity = 64;
    t.order_capacity = 256;
    t.page_capacity = 64;
    t.timers_per_command = 16;
    return t;
}

// One engine, the commands it was given and the events it answered with.
class Venue {
public:
    Venue() : engine_(nullptr, api->destroy) {
        const perpcore_venue_terms terms = venue_terms();
        perpcore_engine* made = nullptr;
        require(api->create(&terms, kAdminKey, &made), "create");
        engine_.reset(made);
        const perpcore_contract_terms btc = btc_terms();
        std::int32_t breach = 0;
        require(api->add_contract(made, &btc, kAdminKey, &contract_, &breach), "add_contract");
    }

    perpcore_engine* engine() const { return engine_.get(); }

    // A command of this kind at the next nanosecond; the caller fills in the rest.
    perpcore_command make(std::uint8_t kind) {
        perpcore_command c{};
        c.timestamp_ns = ++now_ns_;
        c.kind = kind;
        return c;
    }

    void apply(const std::vector<perpcore_command>& batch) {
        commands.insert(commands.end(), batch.begin(), batch.end());
        perpcore_event buffer[4];  // far too small, to show that nothing is lost
        std::uint64_t done = 0, applied = 0, written = 0;
        do {
            require(api->apply(engine(), batch.data() + done, batch.size() - done, buffer, 4,
                               kAdminKey, &applied, &written), "apply");
            done += applied;
            events.insert(events.end(), buffer, buffer + written);
        } while (written == 4);
    }

    perpcore_venue state() const {
        perpcore_venue v;
        require(api->venue(engine(), &v, sizeof v), "venue");
        return v;
    }

    std::uint64_t hash() const {
        std::uint64_t h = 0;
        require(api->state_hash(engine(), &h), "state_hash");
        return h;
    }

    std::uint16_t contract() const { return contract_; }

    std::vector<perpcore_command> commands;
    std::vector<perpcore_event> events;

private:
    std::unique_ptr<perpcore_engine, void (*)(perpcore_engine*)> engine_;
    std::uint16_t contract_ = 0;
    std::int64_t now_ns_ = 0;
};

perpcore_command mark(Venue& venue, std::int64_t usd) {
    perpcore_command c = venue.make(PERPCORE_MARK);
    c.contract = venue.contract();
    c.mark_ticks = usd * kTicksPerUsd;
    return c;
}

std::vector<perpcore_command> open_account(Venue& venue, std::uint32_t account, std::int64_t usd) {
    perpcore_command open = venue.make(PERPCORE_OPEN_ACCOUNT);
    open.account = account;
    perpcore_command admit = venue.make(PERPCORE_SET_ELIGIBILITY);
    admit.account = account;
    admit.profile = PERPCORE_PROFILE_ADVANCED | PERPCORE_PROFILE_DERIVATIVES |
                    PERPCORE_PROFILE_ISOLATED | PERPCORE_PROFILE_USD | (0xFFFFull << 48);
    perpcore_command deposit = venue.make(PERPCORE_DEPOSIT);
    deposit.account = account;
    deposit.currency = PERPCORE_USD;
    deposit.amount_units = usd * kUsd;
    return {open, admit, deposit};
}

perpcore_command quote(Venue& venue, std::uint8_t side, std::int64_t usd) {
    perpcore_command c = venue.make(PERPCORE_NEW_ORDER);
    c.account = kMaker;
    c.contract = venue.contract();
    c.side = side;
    c.order_type = PERPCORE_LIMIT;
    c.time_in_force = PERPCORE_GTC;
    c.price_ticks = usd * kTicksPerUsd;
    c.qty_lots = 10'000;  // 1 BTC
    return c;
}

perpcore_command isolated_buy(Venue& venue) {
    perpcore_command c = venue.make(PERPCORE_NEW_ORDER);
    c.account = kAnn;
    c.contract = venue.contract();
    c.side = PERPCORE_BUY;
    c.order_type = PERPCORE_MARKET;
    c.time_in_force = PERPCORE_IOC;
    c.exec_flags = PERPCORE_ISOLATED_MARGIN;
    c.qty_lots = 500;  // 0.05 BTC
    c.leverage = 20;
    return c;
}

struct Outcome {
    std::vector<perpcore_command> commands;
    std::vector<perpcore_event> events;
    perpcore_venue before, after;
    perpcore_unit block, ann;
    perpcore_position position;
    perpcore_contract market;
    perpcore_audit audit;
    std::uint64_t hash, previewed;
    int block_at_end;  // status of the snapshot of a block that is closed
};

Outcome slide() {
    Venue venue;
    Outcome out{};
    venue.apply(open_account(venue, kMaker, 1'000'000));
    venue.apply(open_account(venue, kAnn, 2'000));
    venue.apply({mark(venue, 60'000), quote(venue, PERPCORE_SELL, 60'010),
                 quote(venue, PERPCORE_BUY, 59'990)});

    // What the order would do: applied, read and undone.
    const perpcore_command order = isolated_buy(venue);
    const std::uint64_t hash = venue.hash();
    perpcore_event buffer[64];
    require(api->preview(venue.engine(), &order, buffer, 64, 0, &out.previewed), "preview");
    if (venue.hash() != hash) {
        throw std::runtime_error("a preview changed the venue");
    }

    venue.apply({order});
    out.before = venue.state();
    const std::uint32_t id = out.before.next_isolation_id - 1;
    require(api->unit(venue.engine(), kAnn, id, &out.block, sizeof out.block), "unit");
    require(api->position(venue.engine(), kAnn, id, venue.contract(), &out.position,
                          sizeof out.position), "position");

    venue.apply({mark(venue, 54'000)});
    perpcore_unit gone;
    out.block_at_end = api->unit(venue.engine(), kAnn, id, &gone, sizeof gone);
    require(api->unit(venue.engine(), kAnn, 0, &out.ann, sizeof out.ann), "unit");
    require(api->contract(venue.engine(), venue.contract(), &out.market, sizeof out.market),
            "contract");
    require(api->audit(venue.engine(), &out.audit, sizeof out.audit), "audit");
    out.after = venue.state();
    out.hash = venue.hash();
    out.commands = venue.commands;
    out.events = venue.events;
    return out;
}

template <typename T>
PyObject* bytes_of(const T* records, std::size_t count) {
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(records),
                                     static_cast<Py_ssize_t>(count * sizeof(T)));
}

// run() -> dict: what happened, records as bytes for numpy.
PyObject* run(PyObject*, PyObject*) {
    Outcome out{};
    std::string error;
    // The engine needs no interpreter: other Python threads run meanwhile.
    Py_BEGIN_ALLOW_THREADS
    try {
        out = slide();
    } catch (const std::exception& e) {
        error = e.what();
    }
    Py_END_ALLOW_THREADS
    if (!error.empty()) {
        PyErr_SetString(PyExc_RuntimeError, error.c_str());
        return nullptr;
    }
    const perpcore_venue_terms venue = venue_terms();
    const perpcore_contract_terms btc = btc_terms();
    return Py_BuildValue(
        "{s:N,s:N,s:N,s:N,s:K,s:K,s:K,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:i,s:i,s:[LLL]}",
        "venue_terms", bytes_of(&venue, 1), "contract_terms", bytes_of(&btc, 1),
        "commands", bytes_of(out.commands.data(), out.commands.size()),
        "events", bytes_of(out.events.data(), out.events.size()),
        "admin_key", static_cast<unsigned long long>(kAdminKey),
        "state_hash", static_cast<unsigned long long>(out.hash),
        "previewed_events", static_cast<unsigned long long>(out.previewed),
        "margin_units", static_cast<long long>(out.block.cash_units),
        "qty_lots", static_cast<long long>(out.position.qty_lots),
        "cost_units", static_cast<long long>(out.position.cost_units),
        "liquidation_mark_ticks", static_cast<long long>(out.position.liquidation_mark_ticks),
        "main_cash_units", static_cast<long long>(out.ann.cash_units),
        "fund_before_units", static_cast<long long>(out.before.fund_units[0]),
        "fund_after_units", static_cast<long long>(out.after.fund_units[0]),
        "mark_ticks", static_cast<long long>(out.market.mark_ticks),
        "block_state", static_cast<int>(out.block.state), "block_at_end", out.block_at_end,
        "residuals", static_cast<long long>(out.audit.residual_units[0]),
        static_cast<long long>(out.audit.residual_units[1]),
        static_cast<long long>(out.audit.open_lots));
}

PyMethodDef methods[] = {
    {"run", run, METH_NOARGS, "Open an isolated block, let the price fall, report."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "price_slide", "A perpcore venue driven from C++.", -1, methods,
    nullptr, nullptr, nullptr, nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit_price_slide() {
    // PyCapsule_Import imports the package alone, so the module that holds the capsule comes first.
    PyObject* engine = PyImport_ImportModule("perpcore.engine");
    if (engine == nullptr) {
        return nullptr;
    }
    Py_DECREF(engine);
    api = static_cast<const perpcore_api*>(PyCapsule_Import(PERPCORE_API_CAPSULE, 0));
    if (api == nullptr) {
        return nullptr;
    }
    const char* mismatch = perpcore_api_mismatch(api);
    if (mismatch != nullptr) {
        PyErr_SetString(PyExc_ImportError, mismatch);
        return nullptr;
    }
    return PyModule_Create(&module);
}
