use super::*;

const NUM_GROUPS: usize = 512;

/// Numbers without a pattern, the same every time.
struct Random(u64);

impl Random {
    /// From 0 up to 1.
    fn uniform(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f32) as usize
    }

    /// Nearly normal: the sum of twelve.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// As the weights of models are.
fn weights(size: f32) -> Vec<f32> {
    let mut random = Random(7);
    let numbers = (0..NUM_GROUPS * GROUP_LEN).map(|_| size * random.normal());
    numbers.collect()
}

/// Codes times a scale and a minimum, each group with its own; `first` and `last` are the codes that it
/// has at most.
fn grid([first, last]: [usize; 2]) -> Vec<f32> {
    let mut random = Random(11);
    let mut values = Vec::new();
    for _ in 0..NUM_GROUPS {
        let scale = f16::from_f32(0.001 + 0.1 * random.uniform()).to_f32();
        let minimum = f16::from_f32(random.normal()).to_f32();
        let code = |_| (first + random.below(last - first + 1)) as f32;
        values.extend((0..GROUP_LEN).map(code).map(|code| scale * code + minimum));
    }
    values
}

/// What is read of what was packed.
fn packed(packed_type: PackedType, wide: &[f32]) -> Vec<f32> {
    let groups = wide.len() / GROUP_LEN;
    let mut codes = vec![0; groups * packed_type.words_of_group()];
    let mut numbers = vec![f16::ZERO; groups * packed_type.numbers_of_group()];
    quantise(packed_type, wide, &mut codes, &mut numbers);
    let codes = codes.chunks_exact(packed_type.words_of_group());
    let numbers = numbers.chunks_exact(packed_type.numbers_of_group());
    let elements = codes.zip(numbers).flat_map(|(codes, numbers)| {
        let codes: &[u8] = bytemuck::cast_slice(codes);
        let scale = numbers[0].to_f32();
        let element = move |index: usize| match packed_type {
            PackedType::Q8 => scale * f32::from(codes[index].cast_signed()),
            PackedType::Q4 => scale * (half(codes, index) - 8.0),
            PackedType::Q4WithMinimum => scale * half(codes, index) + numbers[1].to_f32(),
        };
        (0..GROUP_LEN).map(element)
    });
    elements.collect()
}

fn half(codes: &[u8], index: usize) -> f32 {
    let byte = codes[index % (GROUP_LEN / 2)];
    f32::from(byte >> (index / (GROUP_LEN / 2) * 4) & 15)
}

/// ggml's `Q8_0` and `Q4_0`, and its `Q4_1` where there is a minimum.
fn by_the_plain_formula(packed_type: PackedType, wide: &[f32]) -> Vec<f32> {
    let (groups, _) = wide.as_chunks::<GROUP_LEN>();
    let group = |group: &[f32; GROUP_LEN]| {
        let smallest = group.iter().copied().fold(f32::INFINITY, f32::min);
        let [scale, minimum, lowest, highest] = match packed_type {
            PackedType::Q8 => [largest(group).abs() / 127.0, 0.0, -127.0, 127.0],
            PackedType::Q4 => [largest(group) / -8.0, 0.0, -8.0, 7.0],
            PackedType::Q4WithMinimum => {
                let largest = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                [(largest - smallest) / 15.0, smallest, 0.0, 15.0]
            }
        };
        let code = |value: f32| ((value - minimum) / scale).round().clamp(lowest, highest);
        let [stored_scale, stored_minimum] =
            [scale, minimum].map(|number| f16::from_f32(number).to_f32());
        group.map(|value| code(value) * stored_scale + stored_minimum)
    };
    groups.iter().flat_map(group).collect()
}

/// The squared errors of all groups.
fn errors(found: &[f32], wide: &[f32]) -> Vec<f64> {
    let pairs = found
        .chunks_exact(GROUP_LEN)
        .zip(wide.chunks_exact(GROUP_LEN));
    let error = |(found, wide): (&[f32], &[f32])| {
        let pairs = found.iter().zip(wide);
        pairs
            .map(|(found, wide)| f64::from(found - wide).powi(2))
            .sum()
    };
    pairs.map(error).collect()
}

fn assert_no_group_is_worse(found: &[f64], allowed: &[f64]) {
    for (group, (found, allowed)) in found.iter().zip(allowed).enumerate() {
        assert!(*found <= allowed * 1.0001, "{group}: {found} > {allowed}");
    }
}

#[test]
fn no_group_is_worse_than_by_the_plain_formula_and_all_together_are_better() {
    for size in [0.02, 3e-5] {
        let wide = weights(size);
        for (packed_type, gain) in [
            (PackedType::Q8, 0.85),
            (PackedType::Q4, 0.92),
            (PackedType::Q4WithMinimum, 0.92),
        ] {
            let found = errors(&packed(packed_type, &wide), &wide);
            let plain = errors(&by_the_plain_formula(packed_type, &wide), &wide);
            assert_no_group_is_worse(&found, &plain);
            let [found, plain] = [found, plain].map(|errors| errors.iter().sum::<f64>());
            assert!(found < gain * plain, "{packed_type}: {found} of {plain}");
        }
    }
}

#[test]
fn a_minimum_is_no_worse_than_codes_around_zero() {
    let mut wide = weights(0.02);
    // One large element makes steps from a minimum on coarser.
    wide.iter_mut()
        .step_by(GROUP_LEN)
        .for_each(|value| *value *= 9.0);
    let [with, without] = [PackedType::Q4WithMinimum, PackedType::Q4]
        .map(|packed_type| errors(&packed(packed_type, &wide), &wide));
    assert_no_group_is_worse(&with, &without);
}

#[test]
fn a_grid_with_a_minimum_comes_back_exactly() {
    for codes in [[0, 15], [0, 12], [4, 15], [3, 12]] {
        let wide = grid(codes);
        let found = packed(PackedType::Q4WithMinimum, &wide);
        let other = wide
            .iter()
            .zip(&found)
            .position(|(wide, found)| wide != found);
        assert_eq!(other, None, "{codes:?}");
    }
}

#[test]
fn a_minimum_is_taken_where_it_is_worth_its_bits() {
    let (q8, q4, with_minimum) = (PackedType::Q8, PackedType::Q4, PackedType::Q4WithMinimum);
    let [normal, grid] = [weights(0.02), grid([0, 15])];
    assert_eq!(better_type(q8, &normal), q8);
    assert_eq!(better_type(q4, &normal), q4);
    assert_eq!(better_type(q8, &grid), with_minimum);
    assert_eq!(better_type(q4, &grid), with_minimum);
    let away: Vec<f32> = normal.iter().map(|value| value + 0.05).collect();
    assert_eq!(better_type(q8, &away), q8);
    assert_eq!(better_type(q4, &away), with_minimum);
    let without_an_error = vec![0.0; GROUP_LEN];
    assert_eq!(better_type(q4, &without_an_error), q4);
}

#[test]
fn a_group_with_what_is_no_number_has_no_numbers_and_no_other_group_knows() {
    for nonsense in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut wide = weights(0.02);
        wide[GROUP_LEN] = nonsense;
        for packed_type in PackedType::ALL {
            let found = packed(packed_type, &wide);
            let (first, others) = found.split_at(GROUP_LEN);
            let (second, others) = others.split_at(GROUP_LEN);
            assert!(second.iter().all(|value| value.is_nan()), "{packed_type}");
            let mut others = first.iter().chain(others);
            assert!(others.all(|value| value.is_finite()), "{packed_type}");
        }
    }
}
