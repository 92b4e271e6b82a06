// How a launch comes in: `EMU_ENTRY(kernel)` defines `emu_launch`, which `host_compiler.rs` calls.
namespace emu {

// The twin of `Request` in `host_compiler.rs`.
struct Request {
    unsigned grid[3], block[3], shared_bytes, mode;
    void** arguments;  // the address of each argument, as for cuLaunchKernel
    unsigned num_arguments;
    char* message;
    size_t message_len;
};

static pthread_mutex_t launching = PTHREAD_MUTEX_INITIALIZER;
static void** arguments;

template <class... A, size_t... I> void call(void (*kernel)(A...), std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}

inline unsigned char* map(size_t bytes) {
    void* memory =
        mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) abort();
    return (unsigned char*)memory;
}

static void run_grid() {
    size_t num_blocks = (size_t)grid.x * grid.y * grid.z;
    for (size_t i = 0; i < num_blocks && !failure[0]; i++) {
        size_t n = mode & DESCENDING ? num_blocks - 1 - i : i;
        block_position = {unsigned(n % grid.x), unsigned(n / grid.x % grid.y),
                          unsigned(n / grid.x / grid.y)};
        run_block();
    }
}

// Shared memory ends at a page that nobody can touch. Mapped for each launch: a process may hold
// hundreds of kernels.
static void run_grid_in_fresh_memory() {
    const size_t page = 4096, shared_pages = (MAX_SHARED_BYTES + page - 1) / page * page;
    unsigned char* shared = map(shared_pages + page);
    mprotect(shared + shared_pages, page, PROT_NONE);
    shared_memory = shared + shared_pages - (shared_bytes + 127) / 128 * 128;
    stacks = map((size_t)num_threads * STACK_BYTES);
    run_grid();
    munmap(stacks, (size_t)num_threads * STACK_BYTES);
    munmap(shared, shared_pages + page);
}

template <class... A> int launch(void (*k)(A...), const Request& request) {
    static void (*kernel)(A...);
    pthread_mutex_lock(&launching);
    kernel = k;
    body = [] { call(kernel, std::index_sequence_for<A...>{}); };
    arguments = request.arguments;
    grid = {request.grid[0], request.grid[1], request.grid[2]};
    block = {request.block[0], request.block[1], request.block[2]};
    num_threads = block.x * block.y * block.z;
    shared_bytes = request.shared_bytes;
    mode = request.mode;
    failure[0] = 0;
    // CubeCL passes its block of scalars and shapes to kernels that take none, too.
    unsigned surplus = request.num_arguments - sizeof...(A);
    if (surplus > 1)
        snprintf(failure, sizeof failure, "the kernel takes %zu arguments, %u came", sizeof...(A),
                 request.num_arguments);
    else if (num_threads > MAX_THREADS || shared_bytes > MAX_SHARED_BYTES)
        snprintf(failure, sizeof failure, "%u threads, %u bytes of shared memory", num_threads,
                 shared_bytes);
    else
        run_grid_in_fresh_memory();
    snprintf(request.message, request.message_len, "%s", failure);
    int code = failure[0] != 0;
    pthread_mutex_unlock(&launching);
    return code;
}

}  // namespace emu

#define EMU_ENTRY(kernel) \
    extern "C" __attribute__((visibility("default"))) int emu_launch( \
        const emu::Request* request) { \
        return emu::launch(kernel, *request); \
    }

// What -fsanitize calls in place of a message on stderr and an abort.
#define EMU_SANITIZER(handler, ...) \
    extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_##handler##_abort( \
        __VA_ARGS__)
EMU_SANITIZER(type_mismatch_v1, void*, void*) {
    emu::fail("a misaligned access, a card faults here");
}
EMU_SANITIZER(out_of_bounds, void*, void*) {
    emu::fail("an index outside a local array");
}
EMU_SANITIZER(divrem_overflow, void*, void*, void*) {
    emu::fail("an integer division by zero");
}
