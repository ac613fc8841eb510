// One engine, one thread at a time: a flag that a second caller cannot take.
#pragma once

namespace perpcore {

// Whether the caller owns it now; false: somebody else is inside.
inline bool owner_enter(int* flag) noexcept {
    return __atomic_exchange_n(flag, 1, __ATOMIC_ACQUIRE) == 0;
}

inline void owner_leave(int* flag) noexcept {
    __atomic_store_n(flag, 0, __ATOMIC_RELEASE);
}

}  // namespace perpcore
