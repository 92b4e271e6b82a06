// Warp matrices, `nvcuda::wmma`. Sums are taken in f64 and rounded once.
namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

template <class T> struct Stored {
    typedef T type;
};
template <> struct Stored<precision::tf32> {
    typedef float type;
};

inline float __float_to_tf32(float value) {
    if (value != value) return value;
    return __uint_as_float((__float_as_uint(value) + 0x1000) & ~0x1fffu);
}

// CUDA leaves open which lane holds what. Here lane l holds the elements from l * num_elements of
// the tile in row-major order.
template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    static constexpr bool is_a = std::is_same<Use, matrix_a>::value;
    static constexpr bool is_b = std::is_same<Use, matrix_b>::value;
    static constexpr int rows = is_b ? K : M, columns = is_a ? K : N;
    static constexpr int num_elements = rows * columns / 32;
    typedef typename Stored<T>::type Element;
    Element x[num_elements];
};

// What the manual demands of an address and its leading dimension.
inline void check_access(const char* operation, const void* address, size_t row_bytes) {
    emu::require_full_warp(operation);
    if ((uintptr_t)address % 32)
        emu::fail("%s: the address is not a multiple of 32 bytes", operation);
    if (row_bytes % 16) emu::fail("%s: rows are not a multiple of 16 bytes", operation);
}

// Calls `move(element of the fragment, element in memory)` for each element of this lane.
template <class Fragment, class Memory, class Move>
void for_each(const char* operation, Fragment& tile, Memory* memory, unsigned stride,
              bool by_column, Move move) {
    emu::meet(operation);
    check_access(operation, memory, stride * sizeof *memory);
    for (int i = 0; i < Fragment::num_elements; i++) {
        int element = emu::lane() * Fragment::num_elements + i;
        int row = element / Fragment::columns, column = element % Fragment::columns;
        move(tile.x[i], memory[by_column ? column * stride + row : row * stride + column]);
    }
}

// CubeCL passes a bf16 tile through a pointer to f16: the bits are what counts.
template <class To, class From> void copy_bits(To& to, const From& from) {
    static_assert(sizeof(To) == sizeof(From), "a warp matrix of another element size");
    memcpy(&to, &from, sizeof to);
}

template <class Use, int M, int N, int K, class T, class Layout, class Memory>
void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& tile, const Memory* memory,
                      unsigned stride) {
    for_each("load_matrix_sync", tile, memory, stride, std::is_same<Layout, col_major>::value,
             [](auto& element, auto& value) { copy_bits(element, value); });
}
template <int M, int N, int K, class T, class Memory>
void load_matrix_sync(fragment<accumulator, M, N, K, T>& tile, const Memory* memory,
                      unsigned stride, layout_t layout) {
    for_each("load_matrix_sync", tile, memory, stride, layout == mem_col_major,
             [](auto& element, auto& value) { copy_bits(element, value); });
}
template <int M, int N, int K, class T, class Memory>
void store_matrix_sync(Memory* memory, const fragment<accumulator, M, N, K, T>& tile,
                       unsigned stride, layout_t layout) {
    for_each("store_matrix_sync", tile, memory, stride, layout == mem_col_major,
             [](auto& element, auto& value) { copy_bits(value, element); });
}
template <class Use, int M, int N, int K, class T, class Layout, class Value>
void fill_fragment(fragment<Use, M, N, K, T, Layout>& tile, Value value) {
    for (auto& element : tile.x) element = value;
}

// The value that a tensor core multiplies.
template <class T, class Sum, class Element> Sum operand(Element element) {
    if constexpr (std::is_same<T, precision::tf32>::value)
        return __uint_as_float(__float_as_uint(element) & ~0x1fffu);
    else if constexpr (std::is_integral<Element>::value)
        return (Sum)element;
    else
        return (Sum)(float)element;
}

template <class Fragment>
typename Fragment::Element element_of(unsigned char (*slots)[64], size_t offset, int element) {
    typename Fragment::Element value;
    int lane = element / Fragment::num_elements, index = element % Fragment::num_elements;
    memcpy(&value, slots[lane] + offset + index * sizeof value, sizeof value);
    return value;
}

template <int M, int N, int K, class TA, class TB, class LA, class LB, class TD, class TC>
void mma_sync(fragment<accumulator, M, N, K, TD>& d, const fragment<matrix_a, M, N, K, TA, LA>& a,
              const fragment<matrix_b, M, N, K, TB, LB>& b,
              const fragment<accumulator, M, N, K, TC>& c) {
    typedef fragment<matrix_a, M, N, K, TA, LA> A;
    typedef fragment<matrix_b, M, N, K, TB, LB> B;
    typedef std::conditional_t<std::is_integral<typename A::Element>::value, long long, double> Sum;
    static_assert(sizeof a.x + sizeof b.x <= 64, "the tiles of a lane exceed its slot");
    memcpy(emu::slot(), a.x, sizeof a.x);
    memcpy(emu::slot() + sizeof a.x, b.x, sizeof b.x);
    auto slots = emu::meet("mma_sync");
    for (int i = 0; i < d.num_elements; i++) {
        int element = emu::lane() * d.num_elements + i, row = element / N, column = element % N;
        Sum sum = (Sum)c.x[i];
        for (int k = 0; k < K; k++)
            sum += operand<TA, Sum>(element_of<A>(slots, 0, row * K + k)) *
                   operand<TB, Sum>(element_of<B>(slots, sizeof a.x, k * N + column));
        if constexpr (std::is_integral<Sum>::value)
            d.x[i] = (int)sum;
        else
            d.x[i] = (float)sum;
    }
}

}  // namespace wmma
}  // namespace nvcuda
