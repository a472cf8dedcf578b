// float16 and bfloat16, as 16-bit words, from and to float32 in registers, rounded to nearest even.
// The including file has defined LANES, VEC (of float) and NAME.

typedef uint16_t NAME(half_) __attribute__((ext_vector_type(LANES)));
typedef uint16_t NAME(halfu_) __attribute__((ext_vector_type(LANES), aligned(2)));
typedef int32_t NAME(halfword_) __attribute__((ext_vector_type(LANES)));
typedef uint32_t NAME(halfbits_) __attribute__((ext_vector_type(LANES)));

#if defined(TZ_F16C) || defined(__aarch64__)
typedef _Float16 NAME(float16_) __attribute__((ext_vector_type(LANES)));
TZ_INLINE VEC NAME(widen_f16_)(NAME(half_) h) {
  return __builtin_convertvector(__builtin_bit_cast(NAME(float16_), h), VEC);
}
TZ_INLINE NAME(half_) NAME(narrow_f16_)(VEC v) {
  return __builtin_bit_cast(NAME(half_), __builtin_convertvector(v, NAME(float16_)));
}
#else
// Whatever the state of the thread: nothing here computes with a subnormal float32.
TZ_INLINE VEC NAME(widen_f16_)(NAME(half_) h) {
  const NAME(halfword_) word = __builtin_convertvector(h, NAME(halfword_)), size = word & 0x7FFF;
  const NAME(halfword_) small = __builtin_bit_cast(NAME(halfword_), __builtin_convertvector(size, VEC) * 0x1p-24f);
  const NAME(halfword_) special = size << 13 | (size > 0x7C00 ? (NAME(halfword_))0x7FC00000 : (NAME(halfword_))0x7F800000);
  NAME(halfword_) bits = (size << 13) + (112 << 23);
  bits = size < 0x400 ? small : bits;
  bits = size >= 0x7C00 ? special : bits;
  return __builtin_bit_cast(VEC, bits | (word & 0x8000) << 16);
}
TZ_INLINE NAME(half_) NAME(narrow_f16_)(VEC v) {
  const NAME(halfword_) word = __builtin_bit_cast(NAME(halfword_), v), size = word & 0x7FFFFFFF;
  // Below 2^-14 a sum with 1/2 leaves the rounded number in its last bits.
  const VEC sum = __builtin_bit_cast(VEC, size) + 0.5f;
  const NAME(halfword_) small = __builtin_bit_cast(NAME(halfword_), sum) - 0x3F000000;
  const NAME(halfword_) normal = (size - (112 << 23) + 0xFFF + (size >> 13 & 1)) >> 13;
  const NAME(halfword_) special = size > 0x7F800000 ? 0x7E00 | (size >> 13 & 0x3FF) : (NAME(halfword_))0x7C00;
  NAME(halfword_) bits = size < (113 << 23) ? small : normal;
  bits = size >= (143 << 23) ? special : bits;
  return __builtin_convertvector(bits | (word >> 16 & 0x8000), NAME(half_));
}
#endif

TZ_INLINE VEC NAME(widen_bf16_)(NAME(half_) h) {
  return __builtin_bit_cast(VEC, __builtin_convertvector(h, NAME(halfbits_)) << 16);
}
TZ_INLINE NAME(half_) NAME(narrow_bf16_)(VEC v) {
  const NAME(halfbits_) bits = __builtin_bit_cast(NAME(halfbits_), v);
  const NAME(halfbits_) rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
  return __builtin_convertvector(v == v ? rounded : nan, NAME(half_));
}
