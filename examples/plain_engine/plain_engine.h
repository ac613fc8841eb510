/* A plain matching engine: one order book, one call a message, reports in a ring.
 *
 * Price-time priority over integer ticks. Every message is answered at once by 64-byte reports, in
 * the order of the messages, in a ring that one other thread reads: no lock, no allocation, no
 * system call. What cannot be done is answered by a reject report and changes nothing. Of the
 * functions, plain_engine_read is for the reading thread, all others for the one that writes.
 */
#ifndef PLAIN_ENGINE_H
#define PLAIN_ENGINE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PLAIN_ENGINE_API __attribute__((visibility("default")))

enum { PLAIN_BUY = 0, PLAIN_SELL = 1 };

/* A LIMIT rests with what it does not fill; of the others the rest is cancelled. */
enum { PLAIN_LIMIT = 0, PLAIN_IOC = 1, PLAIN_MARKET = 2 };

typedef struct {
    uint64_t order_id;    /* any number that no resting order has */
    uint64_t sequence;    /* the caller's; every report about the message carries it */
    int64_t price_ticks;  /* min_price_ticks..max_price_ticks; not read of a MARKET order */
    uint32_t qty_lots;    /* >= 1 */
    uint8_t side;
    uint8_t type;
    uint8_t _pad[2];
} plain_new;

typedef struct {
    uint64_t order_id;
    uint64_t sequence;
} plain_cancel;

/* Cancel and insert anew in one step: the order keeps its id and side and loses its place. */
typedef struct {
    uint64_t order_id;
    uint64_t sequence;
    int64_t price_ticks;
    uint32_t qty_lots; /* what is to rest or trade from now on */
    uint8_t _pad[4];
} plain_modify;

enum {
    PLAIN_ORDER_ACK = 0,     /* accepted; its trades follow */
    PLAIN_TRADE = 1,         /* one fill, at the maker's price */
    PLAIN_CANCEL_ACK = 2,    /* cancelled; or what an IOC or MARKET order did not fill */
    PLAIN_MODIFY_ACK = 3,    /* modified; its trades went before */
    PLAIN_CANCEL_REJECT = 4, /* no such order rests */
    PLAIN_MODIFY_REJECT = 5, /* no such order rests, or its new terms are not valid: it stays */
    PLAIN_ORDER_REJECT = 6
};

typedef struct {
    uint8_t type;
    uint8_t side;         /* of the order; of a trade, the taker's */
    uint16_t code;        /* of a reject: perpcore/codes.h; else 0 */
    uint32_t _pad;
    uint64_t sequence;    /* of the message that this answers */
    uint64_t order_id;
    int64_t price_ticks;
    uint32_t qty_lots;    /* ordered; traded; cancelled */
    uint32_t _pad2;
    uint64_t maker_order_id; /* trades only */
    uint64_t taker_order_id;
    uint64_t number;      /* 1, 2, 3, ...: none is missing, none comes twice */
} plain_report;

typedef struct {
    int64_t min_price_ticks;
    int64_t max_price_ticks; /* at most 2^31 - 2 above the lowest */
    uint32_t order_capacity; /* most orders that rest at once, below 2^31 */
    uint32_t ring_reports;   /* a power of two; a full ring makes the next report wait */
} plain_terms;

typedef struct plain_engine plain_engine;

/* All memory is taken and touched here. NULL: terms out of range, or no memory. */
PLAIN_ENGINE_API plain_engine* plain_engine_create(const plain_terms* terms);
PLAIN_ENGINE_API void plain_engine_destroy(plain_engine* engine);

PLAIN_ENGINE_API void plain_engine_new(plain_engine* engine, const plain_new* order);
PLAIN_ENGINE_API void plain_engine_cancel(plain_engine* engine, const plain_cancel* cancel);
PLAIN_ENGINE_API void plain_engine_modify(plain_engine* engine, const plain_modify* modify);

/* The next reports, at most `most`; how many there were. */
PLAIN_ENGINE_API uint32_t plain_engine_read(plain_engine* engine, plain_report* out,
                                            uint32_t most);

/* Best price of a side; INT64_MIN: no bids, INT64_MAX: no asks. */
PLAIN_ENGINE_API int64_t plain_engine_best(const plain_engine* engine, int side);
/* Lots that rest at a price. */
PLAIN_ENGINE_API uint64_t plain_engine_depth(const plain_engine* engine, int side,
                                             int64_t price_ticks);
/* Orders of a side in the order in which they would fill, at most `most` of them; how many rest. */
PLAIN_ENGINE_API uint64_t plain_engine_orders(const plain_engine* engine, int side,
                                              plain_new* out, uint64_t most);

#ifdef __cplusplus
}
#endif

#endif
