// Asynchronous copies in inline PTX, and the few scalar instructions that CubeCL writes so.
inline size_t __cvta_generic_to_shared(const void* address) {
    size_t offset = (const unsigned char*)address - emu::shared_memory;
    if (offset >= emu::shared_bytes)
        emu::fail("an address outside shared memory is used as a shared one");
    return offset;
}

namespace ptx {

inline void land(const emu::Copy& copy) {
    memcpy(copy.to, copy.from, copy.bytes);
    memset((char*)copy.to + copy.bytes, 0, copy.full_bytes - copy.bytes);
}

// Lands all but the newest `num_kept` groups of this thread's copies.
inline void land_older(unsigned num_kept) {
    auto& copies = emu::current->copies;
    size_t num_left = 0;
    for (auto& copy : copies) {
        if (emu::current->copy_group - copy.group > num_kept)
            land(copy);
        else
            copies[num_left++] = copy;
    }
    copies.resize(num_left);
}

// As late as CUDA allows, at the wait, so that a missing wait leaves NaN; with EAGER_COPIES at
// once.
inline void cp_async(unsigned to, uint64_t from, unsigned full_bytes, unsigned bytes) {
    if (to % full_bytes || from % full_bytes) emu::fail("cp.async: a misaligned address");
    if (to + full_bytes > emu::shared_bytes) emu::fail("cp.async: outside shared memory");
    if (bytes > full_bytes) emu::fail("cp.async: the source is larger than the copy");
    emu::Copy copy{emu::shared_memory + to, (const void*)from, bytes, full_bytes,
                   emu::current->copy_group};
    if (emu::mode & emu::EAGER_COPIES)
        land(copy);
    else
        emu::current->copies.push_back(copy);
}

// CubeCL's instruction names its source in a register or as a pointer, its size once or twice.
#define EMU_CP_ASYNC(name) \
    template <class Source> \
    void name(unsigned to, Source from, unsigned full_bytes, unsigned bytes) { \
        cp_async(to, (uint64_t)from, full_bytes, bytes); \
    } \
    template <class Source> void name(unsigned to, Source from, unsigned full_bytes) { \
        cp_async(to, (uint64_t)from, full_bytes, full_bytes); \
    }
EMU_CP_ASYNC(cp_async_ca_shared__cta_global)
EMU_CP_ASYNC(cp_async_cg_shared__cta_global)
EMU_CP_ASYNC(cp_async_ca_shared_global)
EMU_CP_ASYNC(cp_async_cg_shared_global)

inline void cp_async_commit_group() {
    emu::current->copy_group++;
}
inline void cp_async_wait_group(unsigned num_kept) {
    land_older(num_kept);
}
inline void cp_async_wait_all() {
    emu::current->copy_group++;
    land_older(0);
}

inline int saturate(long long value) {
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int)value;
}
inline void add_sat_s32(int& sum, int a, int b) {
    sum = saturate((long long)a + b);
}
inline void sub_sat_s32(int& difference, int a, int b) {
    difference = saturate((long long)a - b);
}
inline void elect(unsigned& is_elected) {
    emu::meet("elect.sync");
    is_elected = emu::lane() == 0;
}

}  // namespace ptx
