// The 16-bit floats. Each operation is done in f32 and rounded once, which is the correctly
// rounded result for + - * / and sqrt.
namespace emu {

struct Binary16 {
    static uint16_t encode(float value) {
        _Float16 half = (_Float16)value;
        uint16_t bits;
        memcpy(&bits, &half, 2);
        return bits;
    }
    static float decode(uint16_t bits) {
        _Float16 half;
        memcpy(&half, &bits, 2);
        return (float)half;
    }
};

struct Brain16 {
    static uint16_t encode(float value) {
        if (value != value) return 0x7fff;
        uint32_t bits = __float_as_uint(value);
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;  // to nearest, ties to even
    }
    static float decode(uint16_t bits) { return __uint_as_float((uint32_t)bits << 16); }
};

template <class Format> struct alignas(2) Half {
    uint16_t bits;

    Half() = default;
    Half(float value) : bits(Format::encode(value)) {}
    template <class Number, class = std::enable_if_t<std::is_arithmetic<Number>::value>>
    Half(Number value) : bits(Format::encode((float)value)) {}
    operator float() const { return Format::decode(bits); }

    // Friends rather than templates, so that an operand may be converted.
    friend Half operator+(Half a, Half b) { return float(a) + float(b); }
    friend Half operator-(Half a, Half b) { return float(a) - float(b); }
    friend Half operator*(Half a, Half b) { return float(a) * float(b); }
    friend Half operator/(Half a, Half b) { return float(a) / float(b); }
    Half operator-() const {
        Half negative;
        negative.bits = bits ^ 0x8000;
        return negative;
    }
    Half& operator+=(Half b) { return *this = *this + b; }
    Half& operator-=(Half b) { return *this = *this - b; }
    Half& operator*=(Half b) { return *this = *this * b; }
    Half& operator/=(Half b) { return *this = *this / b; }
};

template <class Format> struct alignas(4) Half2 {
    typedef Half<Format> T;
    T x, y;

    Half2() = default;
    Half2(T x, T y) : x(x), y(y) {}
    explicit Half2(T both) : x(both), y(both) {}
    explicit Half2(float both) : x(both), y(both) {}
    explicit Half2(double both) : x(both), y(both) {}

    friend Half2 operator+(Half2 a, Half2 b) { return {a.x + b.x, a.y + b.y}; }
    friend Half2 operator-(Half2 a, Half2 b) { return {a.x - b.x, a.y - b.y}; }
    friend Half2 operator*(Half2 a, Half2 b) { return {a.x * b.x, a.y * b.y}; }
    friend Half2 operator/(Half2 a, Half2 b) { return {a.x / b.x, a.y / b.y}; }
    Half2 operator-() const { return {-x, -y}; }
    Half2& operator+=(Half2 b) { return *this = *this + b; }
    Half2& operator-=(Half2 b) { return *this = *this - b; }
    Half2& operator*=(Half2 b) { return *this = *this * b; }
    Half2& operator/=(Half2 b) { return *this = *this / b; }
};

}  // namespace emu

typedef emu::Half<emu::Binary16> __half;
typedef emu::Half2<emu::Binary16> __half2;
typedef emu::Half<emu::Brain16> __nv_bfloat16;
typedef emu::Half2<emu::Brain16> __nv_bfloat162;

inline float __half2float(__half value) {
    return value;
}
inline __half __float2half(float value) {
    return value;
}
inline float __bfloat162float(__nv_bfloat16 value) {
    return value;
}
inline __nv_bfloat16 __float2bfloat16(float value) {
    return value;
}

template <class F> emu::Half<F> __hmax(emu::Half<F> a, emu::Half<F> b) {
    return fmaxf(a, b);
}
template <class F> emu::Half<F> __hmin(emu::Half<F> a, emu::Half<F> b) {
    return fminf(a, b);
}
template <class F> emu::Half2<F> __hmax2(emu::Half2<F> a, emu::Half2<F> b) {
    return {__hmax(a.x, b.x), __hmax(a.y, b.y)};
}
template <class F> emu::Half2<F> __hmin2(emu::Half2<F> a, emu::Half2<F> b) {
    return {__hmin(a.x, b.x), __hmin(a.y, b.y)};
}
template <class F> bool __hisnan(emu::Half<F> a) {
    return float(a) != float(a);
}
template <class F> int __hisinf(emu::Half<F> a) {
    return isinf(float(a));
}
template <class F> emu::Half<F> fma(emu::Half<F> a, emu::Half<F> b, emu::Half<F> c) {
    return (float)fma((double)float(a), (double)float(b), (double)float(c));
}
template <class F> emu::Half<F> __hfma(emu::Half<F> a, emu::Half<F> b, emu::Half<F> c) {
    return fma(a, b, c);
}

#define EMU_HALF_FUNCTION(name) \
    template <class F> emu::Half<F> h##name(emu::Half<F> a) { \
        return name(float(a)); \
    } \
    template <class F> emu::Half2<F> h2##name(emu::Half2<F> a) { \
        return {h##name(a.x), h##name(a.y)}; \
    }
EMU_HALF_FUNCTION(exp)
EMU_HALF_FUNCTION(log)
EMU_HALF_FUNCTION(sin)
EMU_HALF_FUNCTION(cos)
EMU_HALF_FUNCTION(sqrt)
EMU_HALF_FUNCTION(rsqrt)
EMU_HALF_FUNCTION(ceil)
EMU_HALF_FUNCTION(floor)
EMU_HALF_FUNCTION(trunc)
EMU_HALF_FUNCTION(rint)
