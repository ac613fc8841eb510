# The table of functions for C and C++ (perpcore/api.h), handed out as a capsule.

cdef extern from "perpcore/api.h" nogil:
    const char* API_CAPSULE "PERPCORE_API_CAPSULE"
    enum:
        API_ABI "PERPCORE_API_ABI"
    ctypedef struct CCommand "perpcore_command":
        pass
    ctypedef struct CEvent "perpcore_event":
        pass
    ctypedef struct CContractTerms "perpcore_contract_terms":
        pass
    ctypedef struct CVenueTerms "perpcore_venue_terms":
        pass
    ctypedef struct CEngine "perpcore_engine":
        pass
    ctypedef struct CApi "perpcore_api":
        uint32_t abi_number
        uint32_t table_bytes
        uint32_t command_bytes
        uint32_t event_bytes
        uint32_t contract_terms_bytes
        uint32_t venue_terms_bytes
        int (*create)(const CVenueTerms*, uint64_t, CEngine**) noexcept nogil
        void (*destroy)(CEngine*) noexcept nogil
        int (*add_contract)(
            CEngine*, const CContractTerms*, uint64_t, uint16_t*, int32_t*) noexcept nogil
        int (*apply)(
            CEngine*, const CCommand*, uint64_t, CEvent*, uint64_t, uint64_t, uint64_t*,
            uint64_t*) noexcept nogil
        int (*preview)(
            CEngine*, const CCommand*, CEvent*, uint64_t, uint64_t, uint64_t*) noexcept nogil
        int (*state_hash)(CEngine*, uint64_t*) noexcept nogil
        int (*audit)(CEngine*, AuditView*, size_t) noexcept nogil
        int (*venue)(CEngine*, VenueView*, size_t) noexcept nogil
        int (*unit)(CEngine*, uint32_t, uint32_t, UnitView*, size_t) noexcept nogil
        int (*position)(
            CEngine*, uint32_t, uint32_t, uint16_t, PositionView*, size_t) noexcept nogil
        int (*contract)(CEngine*, uint16_t, ContractView*, size_t) noexcept nogil
        int (*order)(CEngine*, uint64_t, OrderView*, size_t) noexcept nogil
        int (*adl_rank)(CEngine*, uint32_t, uint32_t, uint16_t, uint32_t*) noexcept nogil


cdef inline void hand_out(void* out, size_t out_bytes, const void* view,
                          size_t view_bytes) noexcept nogil:
    """As much of a snapshot as the caller's struct has room for."""
    memcpy(out, view, out_bytes if out_bytes < view_bytes else view_bytes)


cdef uint32_t api_unit_of(Core* e, uint32_t account, uint32_t isolation_id) noexcept nogil:
    if account >= e.h.account_count:
        return NONE
    return block_by_id(e, account, isolation_id) if isolation_id else e.accounts[account].unit


cdef int api_create(const CVenueTerms* terms, uint64_t admin_key,
                    CEngine** engine) noexcept nogil:
    cdef int status = STATUS_OK
    cdef Host* host
    if terms == NULL or engine == NULL or admin_key == 0:
        return STATUS_BAD_ARGUMENT
    host = host_create(<const VenueTerms*>terms, &status)
    if host == NULL:
        return status
    host.core.admin_key = admin_key
    engine[0] = <CEngine*>host
    return STATUS_OK


cdef void api_destroy(CEngine* engine) noexcept nogil:
    host_destroy(<Host*>engine)


cdef int api_add_contract(CEngine* engine, const CContractTerms* terms, uint64_t admin_key,
                          uint16_t* contract, int32_t* breach) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef uint32_t number = 0
    cdef int why = 0, status
    if engine == NULL or terms == NULL or contract == NULL or breach == NULL:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    status = host_add_contract(host, <const ContractTerms*>terms, admin_key, &number, &why)
    owner_leave(&host.busy)
    breach[0] = why
    if status == STATUS_OK:
        contract[0] = <uint16_t>number
    return status


cdef int api_apply(CEngine* engine, const CCommand* commands, uint64_t count, CEvent* out,
                   uint64_t capacity, uint64_t admin_key, uint64_t* applied,
                   uint64_t* written) noexcept nogil:
    cdef Host* host = <Host*>engine
    if (engine == NULL or out == NULL or applied == NULL or written == NULL or capacity == 0
            or (commands == NULL and count)):
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    host_apply(host, <const Command*>commands, count, <Event*>out, capacity, admin_key,
               applied, written)
    owner_leave(&host.busy)
    return STATUS_OK


cdef int api_preview(CEngine* engine, const CCommand* command, CEvent* out, uint64_t capacity,
                     uint64_t admin_key, uint64_t* written) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef bint ready
    if engine == NULL or command == NULL or out == NULL or written == NULL or capacity == 0:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    ready = all_delivered(host)
    if ready:
        written[0] = host_preview(host, <const Command*>command, <Event*>out, capacity, admin_key)
    owner_leave(&host.busy)
    return STATUS_OK if ready else STATUS_BAD_ARGUMENT


cdef int api_state_hash(CEngine* engine, uint64_t* digest) noexcept nogil:
    cdef Host* host = <Host*>engine
    if engine == NULL or digest == NULL:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    digest[0] = state_digest(&host.core)
    owner_leave(&host.busy)
    return STATUS_OK


cdef int api_audit(CEngine* engine, AuditView* out, size_t out_bytes) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef AuditView view
    if engine == NULL or out == NULL or out_bytes == 0:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    view = view_audit(&host.core)
    owner_leave(&host.busy)
    hand_out(out, out_bytes, &view, sizeof(AuditView))
    return STATUS_OK


cdef int api_venue(CEngine* engine, VenueView* out, size_t out_bytes) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef VenueView view
    if engine == NULL or out == NULL or out_bytes == 0:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    view = view_venue(&host.core)
    owner_leave(&host.busy)
    hand_out(out, out_bytes, &view, sizeof(VenueView))
    return STATUS_OK


cdef int api_unit(CEngine* engine, uint32_t account, uint32_t isolation_id, UnitView* out,
                  size_t out_bytes) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef UnitView view
    cdef uint32_t u
    if engine == NULL or out == NULL or out_bytes == 0:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    u = api_unit_of(&host.core, account, isolation_id)
    if u != NONE:
        view = view_unit(&host.core, u)
        hand_out(out, out_bytes, &view, sizeof(UnitView))
    owner_leave(&host.busy)
    return STATUS_NOT_FOUND if u == NONE else STATUS_OK


cdef uint32_t api_leg_of(Core* e, uint32_t account, uint32_t isolation_id,
                         uint16_t contract) noexcept nogil:
    """The leg of a unit's position, or NONE."""
    cdef uint32_t u = api_unit_of(e, account, isolation_id)
    cdef uint32_t i = NONE if u == NONE else leg_of(e, u, contract)
    return i if i != NONE and e.legs[i].qty_lots else <uint32_t>NONE


cdef int api_position(CEngine* engine, uint32_t account, uint32_t isolation_id,
                      uint16_t contract, PositionView* out, size_t out_bytes) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef PositionView view
    cdef uint32_t i
    if engine == NULL or out == NULL or out_bytes == 0:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    i = api_leg_of(&host.core, account, isolation_id, contract)
    if i != NONE:
        view = view_position(&host.core, host.core.legs[i].unit, i)
        hand_out(out, out_bytes, &view, sizeof(PositionView))
    owner_leave(&host.busy)
    return STATUS_NOT_FOUND if i == NONE else STATUS_OK


cdef int api_contract(CEngine* engine, uint16_t contract, ContractView* out,
                      size_t out_bytes) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef ContractView view
    cdef bint found
    if engine == NULL or out == NULL or out_bytes == 0:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    found = contract < host.core.h.contract_count
    if found:
        view = view_contract(&host.core, contract)
        hand_out(out, out_bytes, &view, sizeof(ContractView))
    owner_leave(&host.busy)
    return STATUS_OK if found else STATUS_NOT_FOUND


cdef int api_order(CEngine* engine, uint64_t order_id, OrderView* out,
                   size_t out_bytes) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef OrderView view
    cdef uint32_t slot
    if engine == NULL or out == NULL or out_bytes == 0:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    slot = pool_find(&host.core.pool, order_id)
    if slot != NONE:
        view = view_order(&host.core, slot)
        hand_out(out, out_bytes, &view, sizeof(OrderView))
    owner_leave(&host.busy)
    return STATUS_NOT_FOUND if slot == NONE else STATUS_OK


cdef int api_adl_rank(CEngine* engine, uint32_t account, uint32_t isolation_id,
                      uint16_t contract, uint32_t* rank) noexcept nogil:
    cdef Host* host = <Host*>engine
    cdef uint32_t i
    if engine == NULL or rank == NULL:
        return STATUS_BAD_ARGUMENT
    if not owner_enter(&host.busy):
        return STATUS_BUSY
    i = api_leg_of(&host.core, account, isolation_id, contract)
    if i != NONE:
        rank[0] = rank_in_queue(&host.core, i)
    owner_leave(&host.busy)
    return STATUS_NOT_FOUND if i == NONE else STATUS_OK


cdef CApi api_table
memset(&api_table, 0, sizeof(CApi))
api_table.abi_number = API_ABI
api_table.table_bytes = sizeof(CApi)
api_table.command_bytes = sizeof(Command)
api_table.event_bytes = sizeof(Event)
api_table.contract_terms_bytes = sizeof(ContractTerms)
api_table.venue_terms_bytes = sizeof(VenueTerms)
api_table.create = api_create
api_table.destroy = api_destroy
api_table.add_contract = api_add_contract
api_table.apply = api_apply
api_table.preview = api_preview
api_table.state_hash = api_state_hash
api_table.audit = api_audit
api_table.venue = api_venue
api_table.unit = api_unit
api_table.position = api_position
api_table.contract = api_contract
api_table.order = api_order
api_table.adl_rank = api_adl_rank

_capi = PyCapsule_New(&api_table, API_CAPSULE, NULL)
