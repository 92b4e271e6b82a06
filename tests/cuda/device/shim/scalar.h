// Arithmetic that CUDA has and C++ lacks. The fast-math forms are exact here.
namespace emu {
template <class A, class B>
using Common = std::enable_if_t<std::is_arithmetic<A>::value && std::is_arithmetic<B>::value,
                                std::common_type_t<A, B>>;
}

template <class A, class B, class C = emu::Common<A, B>> C min(A a, B b) {
    if constexpr (std::is_floating_point<C>::value)
        return (C)fmin((C)a, (C)b);
    else
        return (C)a < (C)b ? (C)a : (C)b;
}
template <class A, class B, class C = emu::Common<A, B>> C max(A a, B b) {
    if constexpr (std::is_floating_point<C>::value)
        return (C)fmax((C)a, (C)b);
    else
        return (C)a > (C)b ? (C)a : (C)b;
}

inline float rsqrt(float x) {
    return (float)(1.0 / sqrt((double)x));
}
inline double rsqrt(double x) {
    return 1.0 / sqrt(x);
}
inline float rhypotf(float a, float b) {
    return 1.0f / hypotf(a, b);
}
// Macros, since glibc declares some of these names itself.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanhf(x) tanhf(x)
#define __powf(a, b) powf(a, b)
#define __fdividef(a, b) ((float)(a) / (float)(b))
#define __fsqrt_rn(x) sqrtf(x)
#define __frsqrt_rn(x) rsqrt((float)(x))
#define __frcp_rn(x) (1.0f / (float)(x))

inline int __ffs(int x) {
    return __builtin_ffs(x);
}
inline int __ffsll(long long x) {
    return __builtin_ffsll(x);
}
inline int __clz(int x) {
    return x ? __builtin_clz(x) : 32;
}
inline int __clzll(long long x) {
    return x ? __builtin_clzll(x) : 64;
}
inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x) {
    return __builtin_popcountll(x);
}
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1) << (31 - i);
    return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned long long)a * b >> 32;
}
inline int __mulhi(int a, int b) {
    return (long long)a * b >> 32;
}
inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}

// Fibers switch at synchronising operations only, so nothing can come between.
namespace emu {
template <class T> T exchange(T* at, T value) {
    T old = *at;
    *at = value;
    return old;
}
}  // namespace emu
template <class T, class V> T atomicAdd(T* at, V v) {
    return emu::exchange(at, T(*at + (T)v));
}
template <class T, class V> T atomicSub(T* at, V v) {
    return emu::exchange(at, T(*at - (T)v));
}
template <class T, class V> T atomicMax(T* at, V v) {
    return emu::exchange(at, *at > (T)v ? *at : (T)v);
}
template <class T, class V> T atomicMin(T* at, V v) {
    return emu::exchange(at, *at < (T)v ? *at : (T)v);
}
template <class T, class V> T atomicAnd(T* at, V v) {
    return emu::exchange(at, T(*at & (T)v));
}
template <class T, class V> T atomicOr(T* at, V v) {
    return emu::exchange(at, T(*at | (T)v));
}
template <class T, class V> T atomicXor(T* at, V v) {
    return emu::exchange(at, T(*at ^ (T)v));
}
template <class T, class V> T atomicExch(T* at, V v) {
    return emu::exchange(at, (T)v);
}
template <class T, class C, class V> T atomicCAS(T* at, C expected, V v) {
    return emu::exchange(at, *at == (T)expected ? (T)v : *at);
}
