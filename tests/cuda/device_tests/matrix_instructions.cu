// c = a b^T with a [16, 16] and b [8, 16], by cp.async, ldmatrix and mma.sync.
#include <cuda_fp16.h>

extern "C" __global__ void matrix_instructions(const __half* a, const __half* b, float* c) {
    extern __shared__ __align__(16) unsigned char shared[];
    unsigned lane = threadIdx.x;
    unsigned tile_a = (unsigned)__cvta_generic_to_shared(shared);
    unsigned tile_b = tile_a + 512;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n"
                 :: "r"(tile_a + 16 * lane), "l"(a + 8 * lane));
    if (lane < 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n"
                     :: "r"(tile_b + 16 * lane), "l"(b + 8 * lane));
    asm volatile("cp.async.commit_group;\n");
    asm volatile("cp.async.wait_group 0;\n");
    __syncthreads();
    unsigned a0, a1, a2, a3, b0, b1;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared::cta.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(a0), "=r"(a1), "=r"(a2), "=r"(a3)
                 : "r"(tile_a + lane % 16 * 32 + lane / 16 * 16));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared::cta.b16 {%0, %1}, [%2];\n"
                 : "=r"(b0), "=r"(b1)
                 : "r"(tile_b + lane % 8 * 32 + lane / 8 % 2 * 16));
    float c0, c1, c2, c3;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};\n"
                 : "=f"(c0), "=f"(c1), "=f"(c2), "=f"(c3)
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1),
                   "f"(0.0f), "f"(0.0f), "f"(0.0f), "f"(0.0f));
    float* rows = c + lane / 4 * 8 + lane % 4 * 2;
    rows[0] = c0;
    rows[1] = c1;
    rows[64] = c2;
    rows[65] = c3;
}
