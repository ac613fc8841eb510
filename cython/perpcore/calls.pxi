# Single calls: numbers that a person writes, and one command given by its fields.

from cpython.long cimport PyLong_CheckExact
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject

from decimal import Decimal

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    void* PyUnicode_DATA(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    bint PyUnicode_CheckExact(object value) noexcept

cdef extern from "Python.h":
    PyObject* PyTuple_GET_ITEM(tuple fields, Py_ssize_t place) noexcept
    Py_ssize_t PyTuple_GET_SIZE(tuple fields) noexcept

# The one object that Python has for a small number.
_zero = 0
cdef PyObject* ZERO = <PyObject*>_zero

cdef enum:
    DIGITS_MAX = 18              # decimal digits that always fit int64
    FIELDS = 25                  # of a command

cdef int64_t[19] POWERS
POWERS[0] = 1
for _exponent in range(1, DIGITS_MAX + 1):
    POWERS[_exponent] = 10 * POWERS[_exponent - 1]


cdef class Steps:
    """Counts whole steps in numbers as people write them: str, Decimal or int, exactly.

    step: a Decimal above 0.
    """

    cdef readonly object step
    cdef int64_t digits          # step x 10^places
    cdef int places

    def __init__(self, step):
        sign, digits, exponent = step.as_tuple()
        number = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
        self.step = step
        self.places = max(-exponent, 0)
        # A step of more digits than a number may have: none is read here.
        self.digits = number if number < 10 ** DIGITS_MAX else 0
        if self.places > DIGITS_MAX:
            self.digits = 0

    def count(self, value):
        """The steps in a number, or None where plain digits do not give them: `amounts.to_steps`
        then has the last word, and the error.
        """
        cdef object text = value
        if self.digits == 0:
            return None
        if PyLong_CheckExact(value):
            text = None
            if not -POWERS[9] < value < POWERS[9]:
                return None
            return self.counted(value, 0)
        if type(value) is Decimal:
            text = str(value)
        elif not PyUnicode_CheckExact(value):
            return None
        if not PyUnicode_IS_COMPACT_ASCII(text):
            return None
        return self.read(<const char*>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))

    cdef object read(self, const char* text, Py_ssize_t length):
        """Digits with at most one point in them, and a minus in front or not."""
        cdef int64_t number = 0
        cdef Py_ssize_t i = 0, first
        cdef int behind = 0, digits
        cdef bint point = False
        if length and text[0] == c"-":
            i = 1
        first = i
        if length - first > DIGITS_MAX + 1:
            return None
        while i < length:
            if c"0" <= text[i] <= c"9":
                number = 10 * number + (text[i] - c"0")
                behind += point
            elif text[i] == c"." and not point:
                point = True
            else:
                return None
            i += 1
        digits = <int>(length - first) - point
        if not 0 < digits <= DIGITS_MAX:
            return None
        return self.counted(-number if first else number, behind)

    cdef object counted(self, int64_t number, int behind):
        """The steps in number / 10^behind."""
        cdef int64_t count, scale
        if behind > self.places:
            scale = POWERS[behind - self.places]
            if number % scale:
                return None
            number //= scale
        elif behind < self.places:
            scale = POWERS[self.places - behind]
            if not -POWERS[DIGITS_MAX] // scale < number < POWERS[DIGITS_MAX] // scale:
                return None
            number *= scale
        count = number // self.digits
        return count if count * self.digits == number else None


cdef inline object whole(object value):
    """A field as a whole number; TypeError for a float or anything else that is none."""
    return value if PyLong_CheckExact(value) else PyNumber_Index(value)


cdef inline bint given(tuple fields, Py_ssize_t place) noexcept:
    """Whether a field is there and not the 0 that most are; without a reference to it."""
    return place < PyTuple_GET_SIZE(fields) and PyTuple_GET_ITEM(fields, place) != ZERO


cdef int read_command(tuple fields, Command* c) except -1:
    """Fields in the order of COMMAND, the time apart."""
    if given(fields, 1):
        c.order_id = whole(fields[1])
    if given(fields, 2):
        c.client_order_id = whole(fields[2])
    if given(fields, 3):
        c.price_ticks = whole(fields[3])
    if given(fields, 4):
        c.qty_lots = whole(fields[4])
    if given(fields, 5):
        c.account = whole(fields[5])
    if given(fields, 6):
        c.contract = whole(fields[6])
    if given(fields, 7):
        c.kind = whole(fields[7])
    if given(fields, 8):
        c.side = whole(fields[8])
    if given(fields, 9):
        c.isolation_id = whole(fields[9])
    if given(fields, 10):
        c.order_type = whole(fields[10])
    if given(fields, 11):
        c.time_in_force = whole(fields[11])
    if given(fields, 12):
        c.exec_flags = whole(fields[12])
    if given(fields, 13):
        c.stp = whole(fields[13])
    if given(fields, 14):
        c.leverage = whole(fields[14])
    if given(fields, 15):
        c.scope = whole(fields[15])
    if given(fields, 16):
        c.currency = whole(fields[16])
    if given(fields, 17):
        c.trigger_price_ticks = whole(fields[17])
    if given(fields, 18):
        c.expiry_ns = whole(fields[18])
    if given(fields, 19):
        c.isolated_margin_units = whole(fields[19])
    if given(fields, 20):
        c.amount_units = whole(fields[20])
    if given(fields, 21):
        c.mark_ticks = whole(fields[21])
    if given(fields, 22):
        c.rate_e9 = whole(fields[22])
    if given(fields, 23):
        c.profile = whole(fields[23])
    if given(fields, 24):
        c.caller_tag = whole(fields[24])
    return 0
