# Columns of positions: what `MarginTerms` answers for many rows. A function of rows answers up to
# the first one out of range and returns its number.

cdef inline Flat flat_margin_of(const Terms* t, int64_t leverage) noexcept nogil:
    """The margin rate at a leverage, 0: none set, of the sizes that are too small to matter."""
    cdef const Rates* r = t.rates
    cdef int64_t lots = 0 if r.brackets.count else t.max_lots
    if leverage == 0:
        leverage = t.max_leverage
    if r.lot.num:
        lots = smaller(lots, floor_div(<int64_t>r.lot.den, <int64_t>r.lot.num * leverage))
    return flat_of(Rate(1, <uint64_t>leverage), lots)


cdef Py_ssize_t initial_rows(const Terms* t, const int64_t* qty, const int64_t* lot_units,
                             const int64_t* leverage, Py_ssize_t count,
                             int64_t* units) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t last = 0, lots, n
    cdef Flat flat = flat_margin_of(t, last)
    for i in range(count):
        if leverage[i] != last:
            if is_outside(leverage[i], 0, t.max_leverage):
                return i
            last = leverage[i]
            flat = flat_margin_of(t, last)
        lots = size_of(qty[i])
        n = value_of(lots, lot_units[i])
        if not rarely(is_size_outside(lots, flat.lots)):
            units[i] = scaled_ceil(n, &flat.rate)
        elif is_size_outside(lots, t.max_lots):
            return i
        else:
            units[i] = initial_of(t.rates, lots, n, last)
    return count


cdef Py_ssize_t maintenance_rows(const Terms* t, const int64_t* qty, const int64_t* lot_units,
                                 Py_ssize_t count, int64_t* units) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t lots, n
    cdef Flat flat = t.maintenance
    for i in range(count):
        lots = size_of(qty[i])
        n = value_of(lots, lot_units[i])
        if not rarely(is_size_outside(lots, flat.lots)):
            units[i] = scaled_ceil(n, &flat.rate)
        elif is_size_outside(lots, t.max_lots):
            return i
        else:
            units[i] = maintenance_units_of(t.rates, lots, n)
    return count


cdef Py_ssize_t balance_rows(const Terms* t, const int64_t* cash, const int64_t* qty,
                             const int64_t* cost, const int64_t* lot_units, Py_ssize_t count,
                             int64_t* units) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t max_lots = t.max_lots
    cdef Scaled reserve = t.rates.fee_reserve
    for i in range(count):
        if rarely(is_size_outside(size_of(qty[i]), max_lots)) or is_money_outside(cash[i], cost[i]):
            return i
        units[i] = balance_of(&reserve, lot_units[i], cash[i], qty[i], cost[i])
    return count


cdef Py_ssize_t threshold_rows(const Terms* t, const int64_t* cash, const int64_t* qty,
                               const int64_t* cost, Py_ssize_t count,
                               int64_t* ticks) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        if (rarely(is_size_outside(size_of(qty[i]), t.max_lots))
                or is_money_outside(cash[i], cost[i])):
            return i
        ticks[i] = threshold_of(t.rates, t.v, t.max_mark_ticks, cash[i], qty[i], cost[i])
    return count


cdef Py_ssize_t flag_rows(const Terms* t, const int64_t* cash, const int64_t* qty,
                          const int64_t* cost, const int64_t* lot_units, Py_ssize_t count,
                          uint8_t* flags, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t lots, equity
    cdef Flat flat = t.trigger
    for i in range(count):
        lots = size_of(qty[i])
        if is_money_outside(cash[i], cost[i]):
            return i
        equity = cash[i] + value_of(qty[i], lot_units[i]) - cost[i]
        # 0 lots less 1 are a huge unsigned number: without a position cash alone counts.
        if not rarely(<uint64_t>lots - 1 >= <uint64_t>flat.lots):
            # A whole number is below another one if it is below what that rounds up to.
            flags[i * stride] = equity < scaled_ceil(value_of(lots, lot_units[i]), &flat.rate)
        elif is_size_outside(lots, t.max_lots):
            return i
        else:
            flags[i * stride] = is_below(t.rates, lot_units[i], cash[i], qty[i], cost[i], 1)
    return count


cdef enum Answer:
    INITIAL
    MAINTENANCE
    BALANCE
    THRESHOLD
    BELOW

# Columns of one question; what it does not ask for is a number for all rows.
cdef struct Batch:
    Column cash
    Column qty
    Column cost
    Column mark
    Column leverage
    Column out
    int64_t lot_units[256]       # CHUNK_ROWS: what a lot is worth at the row's mark


cdef inline Py_ssize_t value_lots(const Terms* t, Batch* b, Py_ssize_t first,
                                  Py_ssize_t count) noexcept nogil:
    """What a lot is worth in each row; one mark for all rows is multiplied once."""
    cdef Py_ssize_t i
    cdef const int64_t* mark
    if first > 0 and b.mark.stride == 0:
        return count
    mark = column_read(&b.mark, first, count)
    for i in range(count):
        if rarely(is_outside(mark[i], 1, t.max_mark_ticks)):
            return i
        b.lot_units[i] = t.v * mark[i]
    return count


cdef Py_ssize_t answer_chunk(const Terms* t, Answer asked, Batch* b, Py_ssize_t first,
                             Py_ssize_t count) noexcept nogil:
    cdef const int64_t* lot_units = b.lot_units
    cdef const int64_t* qty = column_read(&b.qty, first, count)
    cdef Py_ssize_t valued = value_lots(t, b, first, count)
    if asked == INITIAL:
        return initial_rows(t, qty, lot_units, column_read(&b.leverage, first, count), valued,
                            column_target(&b.out, first))
    if asked == MAINTENANCE:
        return maintenance_rows(t, qty, lot_units, valued, column_target(&b.out, first))
    cdef const int64_t* cash = column_read(&b.cash, first, count)
    cdef const int64_t* cost = column_read(&b.cost, first, count)
    if asked == BALANCE:
        return balance_rows(t, cash, qty, cost, lot_units, valued, column_target(&b.out, first))
    if asked == THRESHOLD:
        return threshold_rows(t, cash, qty, cost, valued, column_target(&b.out, first))
    return flag_rows(t, cash, qty, cost, lot_units, valued,
                     <uint8_t*>b.out.data + first * b.out.stride, b.out.stride)


cdef Py_ssize_t answer_rows(const Terms* t, Answer asked, Batch* b, Py_ssize_t n) noexcept nogil:
    """Answer n rows, up to the first one out of range: its number, -1: none."""
    cdef Py_ssize_t first = 0, count, answered
    while first < n:
        count = min(<Py_ssize_t>CHUNK_ROWS, n - first)
        answered = answer_chunk(t, asked, b, first, count)
        if asked != BELOW:
            column_write(&b.out, first, answered)
        if answered < count:
            return first + answered
        first += count
    return -1
