// Reads one 8x8 matrix by ldmatrix, and writes it in the order of the lanes' registers.
#include <cuda_fp16.h>

extern "C" __global__ void matrix_load(const __half* x, __half* out) {
    extern __shared__ __align__(16) __half shared[];
    unsigned lane = threadIdx.x, word;
    shared[2 * lane] = x[2 * lane];
    shared[2 * lane + 1] = x[2 * lane + 1];
    __syncthreads();
    unsigned row = (unsigned)__cvta_generic_to_shared(shared + lane % 8 * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared::cta.b16 {%0}, [%1];\n"
                 : "=r"(word) : "r"(row));
    reinterpret_cast<unsigned*>(out)[lane] = word;
}
