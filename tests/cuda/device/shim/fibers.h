// The threads of a block as fibers: each has a stack and runs until it has to wait for others.
//
// Blocks run one after the other, so one set of fibers is enough. Everything here belongs to one
// library, that is to one kernel, and `entry.h` lets one launch in at a time.
namespace emu {

enum class State { ready, at_barrier, in_warp_op, polling, joining, exited };

// A `cp.async` under way.
struct Copy {
    void* to;
    const void* from;
    unsigned bytes, full_bytes, group;
};

struct Fiber {
    void* stack_pointer;
    uint3 position;
    unsigned lane, warp;
    State state;
    unsigned line;  // where a joining fiber stands in the text
    unsigned copy_group;
    std::vector<Copy> copies;
};

// The lanes of a warp exchange values through their slots. There are two sets, used in turn, so
// that one meeting per exchange is enough: nobody can reach the next but one before all have read.
struct Warp {
    unsigned size, num_arrived, turn;
    const char* operation;
    alignas(64) unsigned char slots[2][32][64];
};

const unsigned MAX_THREADS = 1024, MAX_SHARED_BYTES = 232448, STACK_BYTES = 256 << 10;
// What a launch asks for, see `emulated.rs`.
const unsigned DESCENDING = 1, EAGER_COPIES = 2, FREE_LANES = 4;

static Fiber fibers[MAX_THREADS], *current;
static Warp warps[MAX_THREADS / 32];
static void* scheduler;  // its stack pointer while a fiber runs
static unsigned char *stacks, *shared_memory;
static unsigned num_threads, num_live, num_at_barrier, barrier_line, shared_bytes, mode;
static uint3 grid, block, block_position;
static bool progress;
static char failure[512];
static void (*body)();

// Saves the registers that a call must keep, changes the stack, and restores them from there.
extern "C" void emu_switch(void** save, void* to) __attribute__((visibility("hidden")));
#if defined(__x86_64__)
asm(".text\nemu_switch:\n"
    " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    " mov %rsp,(%rdi)\n mov %rsi,%rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
const int SAVED_REGISTERS = 6;
#else
#error "emu_switch is written for x86-64 only"
#endif

inline void leave(State state) {
    current->state = state;
    emu_switch(&current->stack_pointer, scheduler);
}

// Ends the launch: the scheduler sees the message and resumes no fiber again.
template <class... Values>
__attribute__((noinline, cold)) void fail(const char* format, Values... values) {
    if (!failure[0]) {
        uint3 b = block_position, t = current->position;
        int length = snprintf(failure, sizeof failure, "block (%u,%u,%u) thread (%u,%u,%u): ", b.x,
                              b.y, b.z, t.x, t.y, t.z);
        snprintf(failure + length, sizeof failure - length, format, values...);
    }
    leave(State::exited);
    abort();
}

static void wake(Fiber* first, unsigned count, State state) {
    for (unsigned i = 0; i < count; i++)
        if (first[i].state == state) first[i].state = State::ready;
    progress = true;
}

static void release_barrier() {
    num_at_barrier = 0;
    wake(fibers, num_threads, State::at_barrier);
}

static void run_fiber() {
    body();
    num_live--;
    progress = true;
    // CUDA's barrier counts the threads that have not exited.
    if (num_live && num_at_barrier == num_live) release_barrier();
    leave(State::exited);
}

static void prepare_fiber(unsigned i) {
    Fiber& fiber = fibers[i];
    fiber.position = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    fiber.lane = i % 32;
    fiber.warp = i / 32;
    fiber.state = State::ready;
    fiber.copy_group = 0;
    fiber.copies.clear();
    // A function expects the stack pointer 8 bytes off a multiple of 16, as after a call.
    void** top = (void**)(stacks + (size_t)(i + 1) * STACK_BYTES) - 1;
    *top = 0;
    *--top = (void*)run_fiber;
    for (int saved = 0; saved < SAVED_REGISTERS; saved++) *--top = 0;
    fiber.stack_pointer = top;
}

// Lanes of a warp that wait to be joined go on when none of them can run, those first that stand
// furthest back in the text: so the two sides of a branch meet again behind it.
static void release_joining(Warp& warp, Fiber* lanes) {
    unsigned line = ~0u;
    for (unsigned i = 0; i < warp.size; i++) {
        if (lanes[i].state == State::ready) return;
        if (lanes[i].state == State::joining && lanes[i].line < line) line = lanes[i].line;
    }
    for (unsigned i = 0; i < warp.size; i++)
        if (lanes[i].state == State::joining && lanes[i].line == line)
            wake(lanes + i, 1, State::joining);
}

static void report_stuck() {
    unsigned at_barrier = 0, in_warp_op = 0, polling = 0, exited = 0;
    const char* operation = "-";
    for (unsigned i = 0; i < num_threads; i++) {
        at_barrier += fibers[i].state == State::at_barrier;
        in_warp_op += fibers[i].state == State::in_warp_op;
        polling += fibers[i].state == State::polling;
        exited += fibers[i].state == State::exited;
        if (fibers[i].state == State::in_warp_op) operation = warps[i / 32].operation;
    }
    snprintf(failure, sizeof failure,
             "block (%u,%u,%u) is stuck: %u threads at __syncthreads, %u in a warp operation (%s), "
             "%u at a barrier object, %u exited",
             block_position.x, block_position.y, block_position.z, at_barrier, in_warp_op,
             operation, polling, exited);
}

static void run_block() {
    memset(shared_memory, 0xff, shared_bytes);  // NaN in every float type
    num_live = num_threads;
    num_at_barrier = 0;
    for (unsigned i = 0; i < num_threads; i++) prepare_fiber(i);
    for (unsigned n = 0; n * 32 < num_threads; n++) {
        unsigned rest = num_threads - n * 32;
        warps[n].size = rest < 32 ? rest : 32;
        warps[n].num_arrived = warps[n].turn = 0;
    }
    while (num_live && !failure[0]) {
        progress = false;
        for (unsigned n = 0; n * 32 < num_threads; n++) release_joining(warps[n], fibers + n * 32);
        for (unsigned i = 0; i < num_threads && !failure[0]; i++) {
            Fiber& fiber = fibers[mode & DESCENDING ? num_threads - 1 - i : i];
            if (fiber.state == State::ready)
                progress = true;
            else if (fiber.state != State::polling)
                continue;
            fiber.state = State::ready;
            current = &fiber;
            emu_switch(&scheduler, fiber.stack_pointer);
        }
        if (!progress && !failure[0]) report_stuck();
    }
    for (unsigned i = 0; i < num_threads && !failure[0]; i++)
        if (!fibers[i].copies.empty())
            snprintf(failure, sizeof failure, "a cp.async was never waited for");
}

}  // namespace emu

#define threadIdx (emu::current->position)
#define blockIdx (emu::block_position)
#define blockDim (emu::block)
#define gridDim (emu::grid)
static const int warpSize = 32;
