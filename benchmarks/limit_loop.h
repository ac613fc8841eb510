/* The limit that the book is measured against: matching with plain arrays and nothing else.
 *
 * Levels are an array indexed by price, orders an array indexed by order id: no hash, no map, no
 * page, no undo, no checks of any field. Nothing of the product is in it.
 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LIMIT_API __attribute__((visibility("default")))

typedef struct LimitBook LimitBook;

/* Same layouts as BOOK_COMMAND and BOOK_TRADE. */
typedef struct __attribute__((packed)) {
    uint64_t order_id;
    int64_t price_ticks;
    int64_t qty_lots;
    uint32_t owner;
    uint8_t kind; /* 1 new, 2 cancel */
    uint8_t side; /* 1 buy, 2 sell */
    uint8_t order_type;
    uint8_t time_in_force; /* 2: IOC */
    uint32_t flags;
    uint32_t stp;
} LimitCommand;

typedef struct {
    uint64_t taker_order_id;
    uint64_t maker_order_id;
    int64_t price_ticks;
    int64_t qty_lots;
} LimitTrade;

/* Prices 1..max_price, order ids 0..max_id; all memory is touched here. NULL: no memory. */
LIMIT_API LimitBook* limit_create(int64_t max_price, uint64_t max_id);
LIMIT_API void limit_free(LimitBook* book);

/* Applies all commands; returns the number of trades. */
LIMIT_API uint64_t limit_apply(LimitBook* book, const LimitCommand* commands, uint64_t count,
                               LimitTrade* trades);

/* Order ids and lots of a side (0 buy, 1 sell) in the order in which they would fill, into arrays
   of max_id + 1; returns how many. */
LIMIT_API uint64_t limit_queue(const LimitBook* book, int side, uint64_t* ids, int64_t* lots);

#ifdef __cplusplus
}
#endif
