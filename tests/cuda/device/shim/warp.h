// Barriers of a block, and operations of a warp.
namespace emu {

inline void block_barrier(unsigned line) {
    if (num_at_barrier == 0) barrier_line = line;
    // CUDA allows a barrier in a branch only if all threads of the block take that branch.
    else if (barrier_line != line)
        fail("threads of a block wait at different __syncthreads, in lines %u and %u", barrier_line,
             line);
    if (++num_at_barrier == num_live) return release_barrier();
    leave(State::at_barrier);
}

// To be called in a loop on a condition that other threads change.
inline void poll() {
    leave(State::polling);
}

inline int lane() {
    return current->lane;
}
inline Warp& warp() {
    return warps[current->warp];
}
inline unsigned char* slot() {
    return warp().slots[warp().turn & 1][current->lane];
}

// All lanes of the warp meet here. What a lane put into its slot before can be read by all lanes
// until they meet again.
inline unsigned char (*meet(const char* operation))[64] {
    Warp& own = warp();
    unsigned char (*slots)[64] = own.slots[own.turn & 1];
    if (own.num_arrived == 0)
        own.operation = operation;
    else if (strcmp(own.operation, operation) != 0)
        fail("lanes of one warp meet in %s and in %s", own.operation, operation);
    if (++own.num_arrived < own.size) {
        leave(State::in_warp_op);
    } else {
        own.num_arrived = 0;
        own.turn++;
        wake(fibers + current->warp * 32, own.size, State::in_warp_op);
    }
    return slots;
}

// Put before accesses to shared memory: keeps the lanes of a warp together between meetings, as
// hardware does in practice. CUDA does not promise it.
inline void join(unsigned line) {
    if (mode & FREE_LANES) return;
    current->line = line;
    leave(State::joining);
}

inline void require_full_warp(const char* operation) {
    if (warp().size != 32) fail("%s in a warp of %u threads", operation, warp().size);
}

template <class T> T shuffle(const char* operation, T value, int from) {
    static_assert(sizeof(T) <= 16, "a shuffle of more than 16 bytes");
    memcpy(slot(), &value, sizeof value);
    auto slots = meet(operation);
    if (from < 0 || from >= (int)warp().size) return value;
    memcpy(&value, slots[from], sizeof value);
    return value;
}

inline unsigned ballot(const char* operation, bool vote) {
    *slot() = vote;
    auto slots = meet(operation);
    unsigned votes = 0;
    for (unsigned i = 0; i < warp().size; i++) votes |= (unsigned)slots[i][0] << i;
    return votes;
}

inline unsigned live_lanes() {
    unsigned lanes = 0;
    for (unsigned i = 0; i < warp().size; i++)
        lanes |= (fibers[current->warp * 32 + i].state != State::exited) << i;
    return lanes;
}

}  // namespace emu

// Every mask that CubeCL emits is the whole warp.
#define __syncthreads() emu::block_barrier(__LINE__)
inline void __syncwarp(unsigned = ~0u) {
    emu::meet("__syncwarp");
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline unsigned __activemask() {
    return emu::live_lanes();
}
template <class T> T __shfl_sync(unsigned, T value, int from) {
    return emu::shuffle("__shfl_sync", value, from & 31);
}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return emu::shuffle("__shfl_xor_sync", value, emu::lane() ^ mask);
}
template <class T> T __shfl_up_sync(unsigned, T value, unsigned delta) {
    return emu::shuffle("__shfl_up_sync", value, emu::lane() - (int)delta);
}
template <class T> T __shfl_down_sync(unsigned, T value, unsigned delta) {
    return emu::shuffle("__shfl_down_sync", value, emu::lane() + (int)delta);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
    return emu::ballot("__ballot_sync", vote);
}
inline bool __any_sync(unsigned, bool vote) {
    return emu::ballot("__any_sync", vote) != 0;
}
inline bool __all_sync(unsigned, bool vote) {
    return emu::ballot("__all_sync", !vote) == 0;
}
