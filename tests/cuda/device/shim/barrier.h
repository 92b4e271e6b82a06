// Barrier objects, `cuda::barrier`, and the cooperative copies that arrive at them.
namespace cuda {

enum thread_scope { thread_scope_thread, thread_scope_block, thread_scope_device };

// 8 bytes as in CUDA, since CubeCL lays out shared memory by that size.
template <thread_scope SCOPE> struct alignas(8) barrier {
    uint64_t expected : 12, pending : 12, phase : 8;
    int64_t pending_bytes : 32;
    typedef uint8_t arrival_token;

    void advance() {
        emu::progress = true;
        if (pending != 0 || pending_bytes != 0) return;
        phase++;
        pending = expected;
    }
    arrival_token arrive(int count = 1) {
        arrival_token token = phase;
        pending -= count;
        advance();
        return token;
    }
    void wait(arrival_token token) {
        while (phase == token) emu::poll();
    }
    void wait_parity(bool parity) {
        while ((phase & 1) == parity) emu::poll();
    }
    void arrive_and_wait() { wait(arrive()); }
    friend void init(barrier* self, int count) {
        self->expected = self->pending = count;
        self->phase = 0;
        self->pending_bytes = 0;
    }
};
static_assert(sizeof(barrier<thread_scope_block>) == 8, "size of a barrier");

template <class Barrier> void memcpy_async(void* to, const void* from, size_t bytes, Barrier&) {
    memcpy(to, from, bytes);
}

namespace device {
template <class Barrier> unsigned long long* barrier_native_handle(Barrier& barrier) {
    return (unsigned long long*)&barrier;
}
template <class Barrier> void barrier_expect_tx(Barrier& barrier, long bytes) {
    barrier.pending_bytes += bytes;
}
template <class Barrier>
typename Barrier::arrival_token barrier_arrive_tx(Barrier& barrier, int count, long bytes) {
    barrier.pending_bytes += bytes;
    return barrier.arrive(count);
}
template <class Barrier>
void memcpy_async_tx(void* to, const void* from, size_t bytes, Barrier& barrier) {
    memcpy(to, from, bytes);
    barrier.pending_bytes -= bytes;
    barrier.advance();
}
}  // namespace device

}  // namespace cuda

namespace ptx {
// This thread's copies land, then it arrives. Without `noinc` the arrival is one more than
// expected.
inline cuda::barrier<cuda::thread_scope_block>& barrier_at(unsigned offset) {
    return *(cuda::barrier<cuda::thread_scope_block>*)(emu::shared_memory + offset);
}
inline void cp_async_mbarrier_arrive_noinc_shared__cta_b64(unsigned offset) {
    cp_async_wait_all();
    barrier_at(offset).arrive();
}
inline void cp_async_mbarrier_arrive_shared__cta_b64(unsigned offset) {
    barrier_at(offset).pending++;
    cp_async_mbarrier_arrive_noinc_shared__cta_b64(offset);
}
}  // namespace ptx

namespace cooperative_groups {
struct thread_block {
    void sync() const { __syncthreads(); }
    unsigned thread_rank() const { return emu::current - emu::fibers; }
};
struct thread {};
inline thread_block this_thread_block() {
    return {};
}
inline thread this_thread() {
    return {};
}
template <class Group> void memcpy_async(const Group&, void* to, const void* from, size_t bytes) {
    memcpy(to, from, bytes);
}
template <class Group> void wait(const Group&) {}
}  // namespace cooperative_groups
