// Matrix instructions in inline PTX: `mma.sync`, `ldmatrix`, `stmatrix`.
//
// `rewrite.rs` turns an `asm` statement into a call of the function in `ptx` that is named like the
// instruction. The lane layouts are those of the PTX manual, since CubeCL computes with them.
namespace ptx {

struct f16 {
    static constexpr int bits = 16;
    static double value(unsigned u) { return emu::Binary16::decode(u); }
};
struct bf16 {
    static constexpr int bits = 16;
    static double value(unsigned u) { return emu::Brain16::decode(u); }
};
struct tf32 {
    static constexpr int bits = 32;
    static double value(unsigned u) { return __uint_as_float(u & ~0x1fffu); }
};
struct s8 {
    static constexpr int bits = 8;
    static double value(unsigned u) { return (int8_t)u; }
};
struct u8 {
    static constexpr int bits = 8;
    static double value(unsigned u) { return (uint8_t)u; }
};

inline unsigned word_of(unsigned char (*slots)[64], int lane, int index) {
    unsigned word;
    memcpy(&word, slots[lane] + 4 * index, 4);
    return word;
}

// m16n8kK. With group = lane / 4 and t = lane % 4, a lane holds of A the rows group and group + 8,
// of B the column group, and of C the columns 2t and 2t + 1.
template <class A, class B, int K, class C>
void mma(C* d, const unsigned (&a)[4], const unsigned (&b)[2], const C (&c)[4]) {
    constexpr int per_word = 32 / A::bits, half_k = 4 * per_word;
    constexpr unsigned mask = A::bits == 32 ? ~0u : (1u << A::bits % 32) - 1;
    emu::require_full_warp("mma.sync");
    memcpy(emu::slot(), a, sizeof a);
    memcpy(emu::slot() + sizeof a, b, sizeof b);
    auto slots = emu::meet("mma.sync");
    C sums[4];
    for (int i = 0; i < 4; i++) {
        int row = emu::lane() / 4 + (i >= 2 ? 8 : 0), column = emu::lane() % 4 * 2 + (i & 1);
        double sum = c[i];
        for (int k = 0; k < K; k++) {
            int t = k % half_k / per_word, shift = k % per_word * A::bits % 32, half = k / half_k;
            unsigned word_a = word_of(slots, row % 8 * 4 + t, (row >= 8) + 2 * half);
            unsigned word_b = word_of(slots, column * 4 + t, 4 + half);
            sum += A::value(word_a >> shift & mask) * B::value(word_b >> shift & mask);
        }
        sums[i] = (C)sum;
    }
    memcpy(d, sums, sizeof sums);
}

#define EMU_MMA(K, A, B, D, C) \
    inline void mma_sync_aligned_m16n8k##K##_row_col_##D##_##A##_##B##_##D( \
        C& d0, C& d1, C& d2, C& d3, unsigned a0, unsigned a1, unsigned a2, unsigned a3, \
        unsigned b0, unsigned b1, C c0, C c1, C c2, C c3) { \
        C d[4]; \
        mma<A, B, K, C>(d, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3}); \
        d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3]; \
    }
EMU_MMA(16, f16, f16, f32, float)
EMU_MMA(16, bf16, bf16, f32, float)
EMU_MMA(8, tf32, tf32, f32, float)
EMU_MMA(32, s8, s8, s32, int)
EMU_MMA(32, u8, u8, s32, int)
EMU_MMA(32, s8, u8, s32, int)
EMU_MMA(32, u8, s8, s32, int)

// Of each 8x8 matrix of 16-bit elements, lane l gives the address of row l % 8 (of matrix l / 8)
// and holds the elements 2 * (l % 4) and the next of row l / 4; transposed, of column l / 4.
inline unsigned char* element_at(unsigned char (*slots)[64], int matrix, int row, int element) {
    unsigned address = word_of(slots, matrix * 8 + row, 0);
    if (address % 16) emu::fail("ldmatrix or stmatrix: a row is not aligned to 16 bytes");
    if (address + 16 > emu::shared_bytes)
        emu::fail("ldmatrix or stmatrix: a row is outside shared memory");
    return emu::shared_memory + address + 2 * element;
}

template <bool TRANSPOSED>
unsigned char* own_element(unsigned char (*slots)[64], int matrix, int i) {
    int major = emu::lane() / 4, minor = emu::lane() % 4 * 2 + i;
    return TRANSPOSED ? element_at(slots, matrix, minor, major)
                      : element_at(slots, matrix, major, minor);
}

template <bool TRANSPOSED, class... Registers>
void load_matrices(unsigned address, Registers&... registers) {
    emu::require_full_warp("ldmatrix");
    memcpy(emu::slot(), &address, 4);
    auto slots = emu::meet("ldmatrix");
    int matrix = 0;
    auto load = [&](unsigned& word) {
        uint16_t low, high;
        memcpy(&low, own_element<TRANSPOSED>(slots, matrix, 0), 2);
        memcpy(&high, own_element<TRANSPOSED>(slots, matrix, 1), 2);
        word = low | (unsigned)high << 16;
        matrix++;
    };
    (load(registers), ...);
}

template <bool TRANSPOSED, class... Registers>
void store_matrices(unsigned address, Registers... registers) {
    emu::require_full_warp("stmatrix");
    memcpy(emu::slot(), &address, 4);
    auto slots = emu::meet("stmatrix");
    int matrix = 0;
    auto store = [&](unsigned word) {
        uint16_t low = word, high = word >> 16;
        memcpy(own_element<TRANSPOSED>(slots, matrix, 0), &low, 2);
        memcpy(own_element<TRANSPOSED>(slots, matrix, 1), &high, 2);
        matrix++;
    };
    (store(registers), ...);
}

#define EMU_MATRIX_MOVES(SUFFIX, TRANSPOSED) \
    inline void ldmatrix_sync_aligned_m8n8_x1##SUFFIX##_shared__cta_b16(unsigned& a, \
                                                                        unsigned address) { \
        load_matrices<TRANSPOSED>(address, a); \
    } \
    inline void ldmatrix_sync_aligned_m8n8_x2##SUFFIX##_shared__cta_b16(unsigned& a, unsigned& b, \
                                                                        unsigned address) { \
        load_matrices<TRANSPOSED>(address, a, b); \
    } \
    inline void ldmatrix_sync_aligned_m8n8_x4##SUFFIX##_shared__cta_b16( \
        unsigned& a, unsigned& b, unsigned& c, unsigned& d, unsigned address) { \
        load_matrices<TRANSPOSED>(address, a, b, c, d); \
    } \
    inline void stmatrix_sync_aligned_m8n8_x1##SUFFIX##_shared__cta_b16(unsigned address, \
                                                                        unsigned a) { \
        store_matrices<TRANSPOSED>(address, a); \
    } \
    inline void stmatrix_sync_aligned_m8n8_x2##SUFFIX##_shared__cta_b16(unsigned address, \
                                                                        unsigned a, unsigned b) { \
        store_matrices<TRANSPOSED>(address, a, b); \
    } \
    inline void stmatrix_sync_aligned_m8n8_x4##SUFFIX##_shared__cta_b16( \
        unsigned address, unsigned a, unsigned b, unsigned c, unsigned d) { \
        store_matrices<TRANSPOSED>(address, a, b, c, d); \
    }
EMU_MATRIX_MOVES(, false)
EMU_MATRIX_MOVES(_trans, true)

}  // namespace ptx
