/* perpcore for C and C++: one table of functions, plain records, no Python.h.

   The table is the capsule `perpcore.engine._capi`. A program takes it once, with the GIL held:

       PyObject* engine = PyImport_ImportModule("perpcore.engine");
       const perpcore_api* api = PyCapsule_Import(PERPCORE_API_CAPSULE, 0);
       const char* mismatch = perpcore_api_mismatch(api);   (NULL: it may be used)

   From then on no function needs the GIL or a Python thread. The table lives as long as the module.
   docs/embedding.md has a whole program; numbers of enumerations are in perpcore/codes.h.

   Promises: functions, fields of the table and fields of snapshots are only ever appended; records
   keep their layout under one ABI number. Amounts are money units (1e-8 of the currency), prices
   ticks or mark ticks of the contract, sizes lots, times ns (docs/units.md). */
#ifndef PERPCORE_API_H
#define PERPCORE_API_H

#include <stddef.h>
#include <stdint.h>

#include "perpcore/codes.h"

#ifdef __cplusplus
extern "C" {
#define PERPCORE_STATIC_ASSERT static_assert
#else
#define PERPCORE_STATIC_ASSERT _Static_assert
#endif

#define PERPCORE_API_ABI 1
#define PERPCORE_API_CAPSULE "perpcore.engine._capi"
#define PERPCORE_NO_ACCOUNT 0xFFFFFFFFu /* account of an event that names none */
#define PERPCORE_NO_CONTRACT 0xFFFFu    /* contract of an event or command that names none */

/* ---- records: little-endian, without padding; the dtypes of perpcore.records ---------------- */

/* One command. A field that its kind does not use must be 0. */
typedef struct perpcore_command {
    int64_t timestamp_ns; /* never before the last command's */
    uint64_t order_id;    /* target of CANCEL and AMEND; NEW_ORDER: the one it is linked with */
    uint64_t client_order_id;
    int64_t price_ticks;
    int64_t qty_lots;
    uint32_t account;
    uint16_t contract;
    uint8_t kind;          /* enum perpcore_kind */
    uint8_t side;          /* enum perpcore_side */
    uint64_t isolation_id; /* 0: the main account, or a new block */
    uint8_t order_type;    /* enum perpcore_order_type */
    uint8_t time_in_force; /* enum perpcore_time_in_force */
    uint8_t exec_flags;    /* enum perpcore_exec_flag */
    uint8_t stp;           /* enum perpcore_self_trade */
    uint16_t leverage;
    uint8_t scope;    /* enum perpcore_scope, enum perpcore_market_state */
    uint8_t currency; /* enum perpcore_currency */
    int64_t trigger_price_ticks; /* conditional orders */
    int64_t expiry_ns;
    int64_t isolated_margin_units;
    int64_t amount_units;
    int64_t mark_ticks; /* MARK: the contract's mark grid; INDEX: 1e-6 USD */
    int64_t rate_e9;
    uint64_t profile;
    uint64_t caller_tag; /* the caller's own; no rule reads it */
} perpcore_command;

/* One event; docs/events.md says what each kind puts into the fields. */
typedef struct perpcore_event {
    uint64_t seq;     /* number of the command that caused it */
    uint32_t account; /* PERPCORE_NO_ACCOUNT: the venue itself */
    uint16_t contract;
    uint16_t code; /* enum perpcore_code, of REJECT */
    uint32_t isolation_id;
    uint8_t kind;   /* enum perpcore_event_kind */
    uint8_t reason; /* enum perpcore_reason of BALANCE, enum perpcore_done of CANCELLED */
    uint8_t ledger; /* enum perpcore_ledger of BALANCE */
    uint8_t flags;  /* enum perpcore_fill_flag | side << 4 of FILL */
    uint64_t order_id;
    int64_t price_ticks;
    int64_t qty_lots;
    int64_t amount_units;
    int64_t balance_units;
} perpcore_event;

/* Terms of one contract. */
typedef struct perpcore_contract_terms {
    char symbol[32]; /* filled up with 0 */
    int64_t tick_size_e12;
    int64_t lot_size_e9;
    int64_t multiplier;
    int64_t marks_per_tick;
    int64_t max_price_ticks;
    int64_t min_order_lots;
    int64_t max_order_lots;
    int64_t max_position_lots;
    int64_t liquidation_slice_lots;
    int64_t inventory_limit_lots;
    int64_t work_off_slice_lots;
    int64_t taker_fee_e9;
    int64_t maker_fee_e9;
    int64_t liquidation_fee_e9;
    int64_t maintenance_share_e4;
    int64_t unit_margin_rate_e15; /* a lot */
    int64_t max_leverage;
    int64_t band_aggressive_e9;
    int64_t band_passive_e9;
    int64_t work_off_band_e9;
    int64_t funding_cap_e9;
    int64_t stale_after_ns; /* 0: never */
    int64_t access_group;   /* 0..15 */
    int64_t kind;           /* 1: linear */
    int64_t bracket_count;  /* 0: margin by rates of the size; else that many notional brackets */
    int64_t bracket_cap_units[16]; /* largest notional of each */
    int64_t bracket_mm_e9[16];
    int64_t bracket_leverage[16];
    int64_t bracket_cum_units[16]; /* maintenance margin = notional x rate - this */
} perpcore_contract_terms;

/* Terms of the venue. All memory is taken by create(), by these capacities. */
typedef struct perpcore_venue_terms {
    int64_t fund_opening_units[2]; /* USD, USDC */
    int64_t usdc_haircut_e9;
    int64_t max_orders_per_account;
    int64_t max_blocks_per_account;
    int64_t account_notional_limit_units; /* 0: none */
    uint16_t excluded_citizenship[16];    /* ISO 3166 numeric, 0: unused */
    uint16_t excluded_residence[16];
    uint32_t account_capacity;
    uint32_t unit_capacity; /* main accounts and blocks alive at once */
    uint32_t leg_capacity;  /* positions; with twice unit_capacity below 2^31 - 3 */
    uint32_t order_capacity;
    uint32_t page_capacity; /* price pages a contract and side */
    uint32_t timers_per_command;
    /* Policies: 0 is the default, the first value named; another number is refused. */
    uint8_t haircut_in;        /* margin, value */
    uint8_t block_collateral;  /* convert, in_kind */
    uint8_t removal;           /* in_profit, free */
    uint8_t partial_close;     /* keep, proportional */
    uint8_t isolated_flip;     /* allow, clip, reject */
    uint8_t liquidation_limit; /* bankruptcy, band */
    uint8_t order_margin_in_liquidation; /* return, forfeit */
    uint8_t backstop;                    /* fund, adl */
    uint8_t adl_rank;         /* profit_leverage, pro_rata, queue_at_mark */
    uint8_t adl_price;        /* bankruptcy, mark */
    uint8_t surplus_to;       /* fund, trader */
    uint8_t deficit;          /* forgive, receivable */
    uint8_t socialize_by;     /* unit, trader */
    uint8_t socialized_loss;  /* pro_rata, one_percent */
    uint8_t unlock_requires;  /* positive, nonnegative */
    uint8_t unlock_at;        /* own_settlement, next_settlement */
    uint8_t fund_by_contract; /* off, on */
    uint8_t spare[7];         /* must be 0 */
    int64_t cover_limit_units; /* what the fund pays in a session at most; 0: no limit */
} perpcore_venue_terms;

PERPCORE_STATIC_ASSERT(sizeof(perpcore_command) == 128, "a command has 128 bytes");
PERPCORE_STATIC_ASSERT(offsetof(perpcore_command, trigger_price_ticks) == 64, "its first half");
PERPCORE_STATIC_ASSERT(sizeof(perpcore_event) == 64, "an event has 64 bytes");
PERPCORE_STATIC_ASSERT(sizeof(perpcore_contract_terms) == 744, "terms of a contract: 744 bytes");
PERPCORE_STATIC_ASSERT(sizeof(perpcore_venue_terms) == 168, "terms of a venue: 168 bytes");

/* ---- snapshots ------------------------------------------------------------------------------ */

/* The venue as a whole. */
typedef struct perpcore_venue {
    uint64_t seq; /* of the last command: the next one has seq + 1, an order's id */
    int64_t time_ns;
    int64_t session;          /* number of the running session, from 1 */
    int64_t index_e6;         /* USDC index in 1e-6 USD, 0: none yet */
    int64_t fund_units[2];    /* insurance fund: USD, USDC */
    int64_t fees_units;       /* trading fees collected */
    int64_t carried_units;    /* uncovered loss that waits for later profits */
    int64_t inventory_cash_units;
    uint32_t accounts;        /* opened so far */
    uint32_t contracts;       /* added so far */
    uint32_t next_isolation_id;
    uint32_t orders;          /* live now */
} perpcore_venue;

/* Residuals of the ledger identity, summed in full: all 0, or the engine is wrong. */
typedef struct perpcore_audit {
    int64_t residual_units[2]; /* USD, USDC */
    int64_t open_lots;         /* over contracts: sum of |sum of positions| */
} perpcore_audit;

/* A main account or an isolated block. Requirements are rounded up, balances down. */
typedef struct perpcore_unit {
    int64_t cash_units;             /* main: USD cash; block: position_cash */
    int64_t usdc_units;             /* main; block: of its position, where USDC stays USDC */
    int64_t order_cash_units;       /* block */
    int64_t collateral_units;       /* cash + value of USDC */
    int64_t upnl_units;             /* unrealized PnL of its positions */
    int64_t mb_units;               /* margin balance */
    int64_t im_units;               /* initial margin */
    int64_t mm_units;               /* maintenance margin */
    int64_t order_margin_units;     /* main */
    int64_t available_units;
    int64_t transferable_units;     /* main: what may move into a block */
    int64_t withdrawable_units[2];  /* main: USD, USDC */
    int64_t removable_units;        /* block: what REMOVE_MARGIN accepts at most */
    int64_t session_pnl_units;
    int64_t kept_units;             /* profit of earlier sessions that is still locked */
    int64_t deficit_units;          /* main: what the fund paid for this owner so far */
    uint32_t account;
    uint32_t isolation_id;          /* 0: the main account */
    uint32_t positions;             /* contracts on which it holds one */
    uint32_t orders;                /* live orders of this unit */
    uint16_t contract;              /* block; PERPCORE_NO_CONTRACT of a main account */
    uint16_t leverage;              /* block */
    uint8_t state;                  /* block: enum perpcore_block_state */
    uint8_t margin_call;            /* main: 0 or 1 */
    uint8_t unused[2];
    int64_t order_usdc_units;       /* block: of its orders, where USDC stays USDC */
    int64_t removable_usdc_units;   /* block: what REMOVE_MARGIN in USDC accepts at most */
} perpcore_unit;

/* One position of a unit. */
typedef struct perpcore_position {
    int64_t qty_lots;               /* long above 0 */
    int64_t cost_units;             /* since the last session roll */
    int64_t opening_cost_units;
    int64_t notional_units;         /* at the mark */
    int64_t upnl_units;
    int64_t im_units;
    int64_t mm_units;
    int64_t fr_units;               /* fee reserve */
    int64_t liquidation_mark_ticks; /* first mark that liquidates its unit, others equal; 0: none */
    int64_t bankruptcy_mark_ticks;  /* mark of equity 0, in the fund's favor; 0: none */
    uint16_t leverage;              /* 0: not set */
    uint16_t contract;
    uint8_t unused[4];
} perpcore_position;

/* One contract's market. */
typedef struct perpcore_contract {
    int64_t mark_ticks; /* 0: none yet */
    int64_t mark_time_ns;
    int64_t last_price_ticks; /* 0: no trade yet */
    int64_t best_bid_ticks;   /* 0: no bid */
    int64_t best_ask_ticks;   /* 0: no ask */
    int64_t bid_lots;         /* resting, all levels */
    int64_t ask_lots;
    int64_t inventory_lots; /* the fund's */
    int64_t inventory_cost_units;
    int64_t funding_rate_e9; /* kept for the next settlement when funding_pending */
    uint8_t funding_pending;
    uint8_t state; /* enum perpcore_market_state */
    uint8_t unused[6];
    int64_t index_ticks;    /* of the contract, on its mark grid; 0: none yet */
    int64_t sub_fund_units; /* its own part of the insurance fund, with fund_by_contract */
} perpcore_contract;

/* A live order. */
typedef struct perpcore_order {
    uint64_t order_id;
    uint64_t client_order_id; /* 0: none */
    uint64_t linked_order_id; /* the order that ends when this one does; 0: none */
    int64_t price_ticks;      /* limit; 0: it waits for its trigger and will be MARKET */
    int64_t left_lots;
    int64_t filled_lots;
    int64_t reserved_lots;       /* of those left: what has a reserve */
    int64_t reserve_units;       /* USD held for it */
    int64_t reserve_usdc_units;  /* USDC held beside it, with block_collateral in_kind */
    int64_t expiry_ns;           /* 0: none */
    int64_t trigger_price_ticks; /* while it waits for its trigger, else 0 */
    uint32_t account;
    uint32_t isolation_id; /* 0: the main account */
    uint16_t contract;
    uint16_t leverage;     /* of its reserve */
    uint8_t side;          /* enum perpcore_side */
    uint8_t trigger_type;  /* enum perpcore_order_type while it waits, else 0 */
    uint8_t trigger_by;    /* enum perpcore_scope TRIGGER_*, while it waits */
    uint8_t time_in_force; /* enum perpcore_time_in_force */
    uint8_t exec_flags;    /* enum perpcore_exec_flag */
    uint8_t stp;           /* enum perpcore_self_trade */
    uint8_t is_explicit;   /* its reserve is an isolated_margin_amount */
    uint8_t unused[5];
} perpcore_order;

/* ---- the table ------------------------------------------------------------------------------ */

/* What a function returns. A command that the venue refuses is no failure: it has its REJECT. */
enum perpcore_status {
    PERPCORE_STATUS_OK = 0,
    PERPCORE_STATUS_BAD_ARGUMENT = -1, /* a null pointer, a zero key, a capacity out of range */
    PERPCORE_STATUS_BUSY = -2,         /* another thread is inside this engine */
    PERPCORE_STATUS_NO_MEMORY = -3,
    PERPCORE_STATUS_BAD_TERMS = -4, /* terms of a contract break a limit: enum perpcore_breach */
    PERPCORE_STATUS_NOT_ADMIN = -5, /* the key is not the one that create() was given */
    PERPCORE_STATUS_NOT_FOUND = -6, /* no such account, open block, position or contract */
    PERPCORE_STATUS_FULL = -7       /* the venue has as many contracts as it can hold */
};

/* Why a contract is refused. */
enum perpcore_breach {
    PERPCORE_BREACH_NONE = 0,
    PERPCORE_BREACH_NOT_LINEAR = 1,
    PERPCORE_BREACH_SIZES = 2,           /* a tick, lot, multiplier or limit is out of range */
    PERPCORE_BREACH_VALUE_NOT_WHOLE = 3, /* mark tick x lot x multiplier is no money unit */
    PERPCORE_BREACH_MARK_RANGE = 4,      /* max_price_ticks x marks_per_tick is too large */
    PERPCORE_BREACH_NOTIONAL_RANGE = 5,  /* largest price x largest size does not fit */
    PERPCORE_BREACH_INVENTORY_RANGE = 6,
    PERPCORE_BREACH_RATES = 7,           /* a rate is not in 0..1 */
    PERPCORE_BREACH_MARGIN_OVER_ONE = 8, /* maintenance + fee reserve reach 1 */
    PERPCORE_BREACH_DENOMINATORS = 9,    /* the rates have no common denominator that fits */
    PERPCORE_BREACH_LEVERAGE = 10,
    PERPCORE_BREACH_ACCESS_GROUP = 11,
    PERPCORE_BREACH_SIZE_OVER_ONE = 12, /* share x unit margin rate x largest position exceed 1 */
    PERPCORE_BREACH_SYMBOL_EXISTS = 13
};

/* One venue. One thread at a time: a second call gets STATUS_BUSY and does nothing. Different
   engines run in parallel. */
typedef struct perpcore_engine perpcore_engine;

/* Rules for all functions: pointers must not be null unless it says so; when the result is not
   STATUS_OK nothing has changed and nothing was written. Snapshots take the size of the caller's
   struct, so that a program built with an older header gets the fields that it knows. */
typedef struct perpcore_api {
    uint32_t abi_number;  /* PERPCORE_API_ABI */
    uint32_t table_bytes; /* of this table: grows when functions are appended */
    uint32_t command_bytes;
    uint32_t event_bytes;
    uint32_t contract_terms_bytes;
    uint32_t venue_terms_bytes;

    /* Make a venue and take all its memory. admin_key: not 0; whoever knows it is administration.
       Returns OK (*engine is set), BAD_ARGUMENT, NO_MEMORY. */
    int (*create)(const perpcore_venue_terms* terms, uint64_t admin_key, perpcore_engine** engine);

    /* End a venue and give its memory back. NULL is ignored. No other call may be running. */
    void (*destroy)(perpcore_engine* engine);

    /* List a contract; *contract is its number in commands and events. *breach says which limit is
       broken when the result is BAD_TERMS and is 0 otherwise.
       Returns OK, BAD_TERMS, NOT_ADMIN, FULL, NO_MEMORY, BUSY, BAD_ARGUMENT. */
    int (*add_contract)(perpcore_engine* engine, const perpcore_contract_terms* terms,
                        uint64_t admin_key, uint16_t* contract, int32_t* breach);

    /* Apply commands[0..count) in order and write their events to out[0..capacity).
       admin_key: 0 for trading alone; commands of administration without the key are refused
       (40101). *applied: commands that were applied; *written: events in `out`.
       *written == capacity: there may be more. Call again with the commands that are left (count 0
       when none are) until *written < capacity; events that did not fit come first, none is lost.
       commands may be null when count is 0; capacity must be at least 1.
       Returns OK, BUSY, BAD_ARGUMENT. */
    int (*apply)(perpcore_engine* engine, const perpcore_command* commands, uint64_t count,
                 perpcore_event* out, uint64_t capacity, uint64_t admin_key, uint64_t* applied,
                 uint64_t* written);

    /* The events that one command would have, with everything as it was afterwards.
       *written == capacity: there may be more; repeat with a larger buffer.
       Returns OK, BUSY, BAD_ARGUMENT (also while apply has events that were not fetched yet). */
    int (*preview)(perpcore_engine* engine, const perpcore_command* command, perpcore_event* out,
                   uint64_t capacity, uint64_t admin_key, uint64_t* written);

    /* Hash of the whole state: the same commands give the same number. Returns OK, BUSY. */
    int (*state_hash)(perpcore_engine* engine, uint64_t* hash);

    /* Sum the whole ledger. Returns OK, BUSY. */
    int (*audit)(perpcore_engine* engine, perpcore_audit* out, size_t out_bytes);

    /* Snapshots. Return OK, NOT_FOUND, BUSY, BAD_ARGUMENT (out_bytes is 0).
       unit, position: isolation_id 0 is the account's main account. */
    int (*venue)(perpcore_engine* engine, perpcore_venue* out, size_t out_bytes);
    int (*unit)(perpcore_engine* engine, uint32_t account, uint32_t isolation_id,
                perpcore_unit* out, size_t out_bytes);
    int (*position)(perpcore_engine* engine, uint32_t account, uint32_t isolation_id,
                    uint16_t contract, perpcore_position* out, size_t out_bytes);
    int (*contract)(perpcore_engine* engine, uint16_t contract, perpcore_contract* out,
                    size_t out_bytes);

    /* A live order by its id. Returns OK, NOT_FOUND, BUSY, BAD_ARGUMENT (out_bytes is 0). */
    int (*order)(perpcore_engine* engine, uint64_t order_id, perpcore_order* out,
                 size_t out_bytes);

    /* A position's place in its side's queue of auto-deleveraging: *rank, 1 is closed first.
       It ranks all positions of the side: as dear as a sort of them.
       Returns OK, NOT_FOUND (no position), BUSY, BAD_ARGUMENT. */
    int (*adl_rank)(perpcore_engine* engine, uint32_t account, uint32_t isolation_id,
                    uint16_t contract, uint32_t* rank);
} perpcore_api;

/* NULL when the table fits the header that the program was built with, else what is wrong.
   Ask before the first call: a table that does not fit must not be used. */
static inline const char* perpcore_api_mismatch(const perpcore_api* api) {
    if (api == NULL) {
        return "perpcore: there is no table: is perpcore.engine imported?";
    }
    if (api->abi_number != PERPCORE_API_ABI) {
        return "perpcore: the ABI number differs: build again with the installed headers";
    }
    if (api->table_bytes < sizeof(perpcore_api)) {
        return "perpcore: the installed table is older than the headers: upgrade perpcore";
    }
    if (api->command_bytes != sizeof(perpcore_command) ||
        api->event_bytes != sizeof(perpcore_event) ||
        api->contract_terms_bytes != sizeof(perpcore_contract_terms) ||
        api->venue_terms_bytes != sizeof(perpcore_venue_terms)) {
        return "perpcore: a record has another size: build again with the installed headers";
    }
    return NULL;
}

#ifdef __cplusplus
}
#endif
#undef PERPCORE_STATIC_ASSERT

#endif
