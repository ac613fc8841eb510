/* See limit_loop.h. */
#define _DEFAULT_SOURCE
#include "limit_loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NONE 0xFFFFFFFFu

typedef struct {
    int64_t lots; /* 0: does not rest */
    uint32_t next;
    uint32_t prev;
    uint32_t price;
    uint32_t side;
} Order; /* 24 B, indexed by order id */

typedef struct {
    uint32_t head;
    uint32_t tail;
} Level; /* indexed by price */

struct LimitBook {
    Level* levels;
    Order* orders;
    int64_t best[2]; /* buy: highest, sell: lowest; just outside the range when empty */
    int64_t max_price;
};

/* Huge pages, as the product's arenas have them: the limit must not lose by its allocator. */
static void* touched(size_t bytes, int fill) {
    size_t huge = (size_t)2 << 20;
    void* block = NULL;
    if (posix_memalign(&block, huge, (bytes + huge - 1) / huge * huge) != 0) {
        return NULL;
    }
    madvise(block, bytes, MADV_HUGEPAGE);
    memset(block, fill, bytes);
    return block;
}

LimitBook* limit_create(int64_t max_price, uint64_t max_id) {
    LimitBook* b = (LimitBook*)calloc(1, sizeof(LimitBook));
    if (b == NULL) {
        return NULL;
    }
    b->levels = (Level*)touched(sizeof(Level) * (size_t)(max_price + 2), 0xFF);
    b->orders = (Order*)touched(sizeof(Order) * (size_t)(max_id + 1), 0);
    if (b->levels == NULL || b->orders == NULL) {
        limit_free(b);
        return NULL;
    }
    b->best[0] = 0;
    b->best[1] = max_price + 1;
    b->max_price = max_price;
    return b;
}

void limit_free(LimitBook* b) {
    if (b != NULL) {
        free(b->levels);
        free(b->orders);
        free(b);
    }
}

/* The next price with orders, one tick at a time: good in a dense book. */
static void improve(LimitBook* b, int side) {
    int64_t price = b->best[side];
    if (side == 0) {
        while (price > 0 && b->levels[price].head == NONE) price--;
    } else {
        while (price <= b->max_price && b->levels[price].head == NONE) price++;
    }
    b->best[side] = price;
}

static void unlink_order(LimitBook* b, uint32_t id) {
    Order* o = &b->orders[id];
    Level* level = &b->levels[o->price];
    if (o->prev == NONE) level->head = o->next;
    else b->orders[o->prev].next = o->next;
    if (o->next == NONE) level->tail = o->prev;
    else b->orders[o->next].prev = o->prev;
    o->lots = 0;
    if (level->head == NONE && b->best[o->side] == o->price) improve(b, (int)o->side);
}

static void rest_order(LimitBook* b, const LimitCommand* c, int side, int64_t lots) {
    uint32_t id = (uint32_t)c->order_id;
    Order* o = &b->orders[id];
    Level* level = &b->levels[c->price_ticks];
    o->lots = lots;
    o->price = (uint32_t)c->price_ticks;
    o->side = (uint32_t)side;
    o->next = NONE;
    o->prev = level->tail;
    if (level->tail == NONE) level->head = id;
    else b->orders[level->tail].next = id;
    level->tail = id;
    if (side == 0 ? c->price_ticks > b->best[0] : c->price_ticks < b->best[1]) {
        b->best[side] = c->price_ticks;
    }
}

uint64_t limit_apply(LimitBook* b, const LimitCommand* commands, uint64_t count,
                     LimitTrade* trades) {
    uint64_t made = 0;
    for (uint64_t i = 0; i < count; i++) {
        const LimitCommand* c = &commands[i];
        if (c->kind == 2) {
            if (b->orders[c->order_id].lots != 0) unlink_order(b, (uint32_t)c->order_id);
            continue;
        }
        int side = c->side - 1;
        int64_t left = c->qty_lots;
        while (left != 0) {
            int64_t price = b->best[1 - side];
            if (side == 0 ? price > c->price_ticks || price > b->max_price
                          : price < c->price_ticks || price == 0) {
                break;
            }
            uint32_t id = b->levels[price].head;
            Order* maker = &b->orders[id];
            int64_t lots = maker->lots < left ? maker->lots : left;
            LimitTrade* t = &trades[made++];
            t->taker_order_id = c->order_id;
            t->maker_order_id = id;
            t->price_ticks = price;
            t->qty_lots = lots;
            left -= lots;
            if (lots == maker->lots) unlink_order(b, id);
            else maker->lots -= lots;
        }
        if (left != 0 && c->time_in_force != 2) rest_order(b, c, side, left);
    }
    return made;
}

uint64_t limit_queue(const LimitBook* b, int side, uint64_t* ids, int64_t* lots) {
    uint64_t count = 0;
    int64_t step = side == 0 ? -1 : 1;
    for (int64_t price = b->best[side]; price >= 1 && price <= b->max_price; price += step) {
        for (uint32_t id = b->levels[price].head; id != NONE; id = b->orders[id].next) {
            ids[count] = id;
            lots[count] = b->orders[id].lots;
            count++;
        }
    }
    return count;
}
