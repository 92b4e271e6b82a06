//! Parameters that are made of several tensors, of their rows in another order, or of a sum.

use burn::module::{Module, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, bf16};
use burn_flex::Flex;

use super::*;
use crate::error::{CheckpointError, Result};
use crate::weights::element::WeightType;
use crate::weights::key_rule::{KeyRule, RowOrder};
use crate::weights::test_files::{checkpoint_error, folder, typed_safetensors};

const PARTS: &[&str] = &["q.", "k.", "v."];

/// Three projections at once.
#[derive(Module, Debug)]
struct Attention<B: Backend> {
    qkv: Linear<B>,
}

#[derive(Module, Debug)]
struct Linear<B: Backend> {
    weight: Weight<B>,
    bias: Param<Tensor<B, 1>>,
}

/// What the loader knows as a matrix, by its name.
#[derive(Module, Debug)]
struct Weight<B: Backend> {
    numbers: Param<Tensor<B, 2>>,
}

fn attention([rows, columns]: [usize; 2]) -> Attention<Flex> {
    let device = Default::default();
    let qkv = Linear {
        weight: Weight {
            numbers: Param::initialized(ParamId::new(), Tensor::zeros([rows, columns], &device)),
        },
        bias: Param::initialized(ParamId::new(), Tensor::zeros([rows], &device)),
    };
    Attention { qkv }
}

type File = Vec<(&'static str, &'static str, &'static [usize], Vec<u8>)>;

/// An f32 tensor that counts up from `first`.
fn counted(
    name: &'static str,
    shape: &'static [usize],
    first: f32,
) -> (&'static str, &'static str, &'static [usize], Vec<u8>) {
    let values = (0..shape.iter().product()).map(|index: usize| first + index as f32);
    (
        name,
        "F32",
        shape,
        values.flat_map(f32::to_le_bytes).collect(),
    )
}

/// The weights and biases of two, one and one rows of two columns.
fn projections() -> File {
    vec![
        counted("q.weight", &[2, 2], 0.),
        counted("k.weight", &[1, 2], 10.),
        counted("v.weight", &[1, 2], 20.),
        counted("q.bias", &[2], 30.),
        counted("k.bias", &[1], 40.),
        counted("v.bias", &[1], 50.),
    ]
}

fn without(mut file: File, name: &str) -> File {
    file.retain(|tensor| tensor.0 != name);
    file
}

fn load(
    shape: [usize; 2],
    file: &File,
    rules: &[KeyRule],
    options: WeightOptions,
) -> Result<(Attention<Flex>, LoadReport)> {
    let folder = folder(&[("model.safetensors", &typed_safetensors(file))]);
    let checkpoint = Checkpoint::open(folder.path())?;
    load_module(attention(shape), &checkpoint, &KeyMap::new(rules), options)
}

/// Loads four rows of two columns from stacked projections.
fn load_stack(file: &File, more: &[KeyRule]) -> Result<(Attention<Flex>, LoadReport)> {
    let rules = [&[KeyRule::stack(PARTS, "qkv.")], more].concat();
    load([4, 2], file, &rules, WeightOptions::default())
}

fn weight(module: &Attention<Flex>) -> &Param<Tensor<Flex, 2>> {
    &module.qkv.weight.numbers
}

fn values<const D: usize>(param: &Param<Tensor<Flex, D>>) -> Vec<f32> {
    param.val().into_data().convert::<f32>().into_vec().unwrap()
}

/// Missing, mismatched and unused of a load that must fail, and the report.
fn misfit(result: Result<(Attention<Flex>, LoadReport)>) -> ([Vec<String>; 3], String) {
    match checkpoint_error(result) {
        CheckpointError::Incomplete {
            missing,
            mismatched,
            unused,
            report,
        } => ([missing, mismatched, unused], report),
        other => panic!("{other}"),
    }
}

#[test]
fn weights_and_biases_lie_one_under_another() {
    let mut seen = Vec::new();
    let mut progress = |step: LoadProgress<'_>| seen.push((step.done_bytes, step.total_bytes));
    let options = WeightOptions::default().with_progress(&mut progress);
    let rules = [KeyRule::stack(PARTS, "qkv.")];
    let (module, report) = load([4, 2], &projections(), &rules, options).unwrap();
    assert_eq!(
        values(weight(&module)),
        [0., 1., 2., 3., 10., 11., 20., 21.]
    );
    assert_eq!(values(&module.qkv.bias), [30., 31., 40., 50.]);
    assert_eq!(report.applied, ["qkv.weight", "qkv.bias"]);
    assert_eq!(report.stored_bytes, 4 * (8 + 4));
    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted());
    assert_eq!(seen[5], (48, 48));
}

#[test]
fn a_tensor_under_the_name_of_the_whole_fills_it_alone() {
    let file = vec![
        counted("qkv.weight", &[4, 2], 0.),
        counted("qkv.bias", &[4], 0.),
    ];
    let (module, _) = load_stack(&file, &[]).unwrap();
    assert_eq!(values(weight(&module)), [0., 1., 2., 3., 4., 5., 6., 7.]);
}

#[test]
fn a_whole_and_a_part_of_it_are_two_tensors_for_one_parameter() {
    let mut file = projections();
    file.push(counted("qkv.weight", &[4, 2], 0.));
    match checkpoint_error(load_stack(&file, &[])) {
        CheckpointError::NameCollision {
            parameter,
            first,
            second,
        } => {
            assert_eq!(
                [parameter, first, second],
                ["qkv.weight", "k.weight", "qkv.weight"]
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn two_tensors_for_one_part_are_an_error() {
    let mut file = projections();
    file.push(counted("model.k.weight", &[1, 2], 0.));
    match checkpoint_error(load_stack(&file, &[KeyRule::rename_prefix("model.", "")])) {
        CheckpointError::NameCollision {
            parameter,
            first,
            second,
        } => {
            assert_eq!(
                [parameter, first, second],
                ["k.weight", "k.weight", "model.k.weight"]
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_missing_part_is_named_with_what_it_may_be_called() {
    let mut file = projections();
    file[1].0 = "self.k.weight";
    file[1].2 = &[1, 2];
    file.push(counted("extra.k.weights", &[2, 1], 0.));
    let rules = [KeyRule::rename_prefix("self.k.", "key.")];
    let ([missing, mismatched, unused], report) = misfit(load_stack(&file, &rules));
    assert_eq!(missing, ["k.weight"]);
    assert!(mismatched.is_empty());
    assert!(unused.contains(&"self.k.weight".to_string()), "{unused:?}");
    let expected = "1 of 2 parameters found (0.0 MB); 1 without a tensor: \
                    `k.weight` [1, 2] (perhaps the tensor `self.k.weight`)";
    assert!(report.starts_with(expected), "{report}");
}

#[test]
fn a_parameter_with_no_part_at_all_is_missing_by_its_own_name() {
    let mut file = projections();
    file.retain(|tensor| tensor.0.ends_with("bias"));
    file.push(counted("qqkv.weight", &[4, 2], 0.));
    let ([missing, ..], report) = misfit(load_stack(&file, &[]));
    assert_eq!(missing, ["qkv.weight"]);
    assert!(
        report.contains("perhaps the tensor `qqkv.weight`"),
        "{report}"
    );
}

#[test]
fn parts_must_add_up_to_the_parameter() {
    let mut file = projections();
    file[2] = counted("v.weight", &[2, 2], 20.);
    let ([_, mismatched, _], report) = misfit(load_stack(&file, &[]));
    assert_eq!(mismatched, ["qkv.weight"]);
    let expected = "expects [4, 2], the tensor `q.weight + k.weight + v.weight` has [5, 2]";
    assert!(report.contains(expected), "{report}");
}

#[test]
fn every_part_must_have_the_columns_of_the_parameter() {
    let mut file = projections();
    file[1] = counted("k.weight", &[1, 3], 10.);
    file[2] = counted("v.weight", &[2], 20.);
    let (_, report) = misfit(load_stack(&file, &[]));
    assert!(
        report.contains("expects [1, 2], the tensor `k.weight` has [1, 3]"),
        "{report}"
    );
    assert!(
        report.contains("expects [2, 2], the tensor `v.weight` has [2]"),
        "{report}"
    );
    assert!(report.starts_with("1 of 2 parameters"), "{report}");
}

#[test]
fn parts_of_several_types_are_rounded_each_for_itself() {
    let wide = [1.0f32 + 1.0 / 1024.0, 2.0];
    let narrow = [bf16::from_f32(0.5), bf16::from_f32(-3.0)];
    let mut file = projections();
    file[1] = (
        "k.weight",
        "F32",
        &[1, 2],
        wide.iter().flat_map(|w| w.to_le_bytes()).collect(),
    );
    file[2] = (
        "v.weight",
        "BF16",
        &[1, 2],
        narrow.iter().flat_map(|n| n.to_le_bytes()).collect(),
    );
    let (module, report) = load_stack(&file, &[]).unwrap();
    assert_eq!(
        weight(&module).val().dtype(),
        DType::F32,
        "the widest of them"
    );
    assert_eq!(values(weight(&module))[4..], [wide[0], 2.0, 0.5, -3.0]);
    assert_eq!(report.stored_bytes, 4 * (4 + 2 + 4) + 2 * 2);

    let options = WeightOptions::default().with_matrices(WeightType::BF16);
    let (module, _) = load([4, 2], &file, &[KeyRule::stack(PARTS, "qkv.")], options).unwrap();
    assert_eq!(weight(&module).val().dtype(), DType::BF16);
    assert_eq!(values(weight(&module))[4..], [1.0, 2.0, 0.5, -3.0]);
}

#[test]
fn a_part_that_is_no_float_is_refused() {
    let mut file = projections();
    file[2] = ("v.weight", "I32", &[1, 2], vec![0; 8]);
    match checkpoint_error(load_stack(&file, &[])) {
        CheckpointError::ElementType { tensor, .. } => assert_eq!(tensor, "v.weight"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_part_that_may_be_absent_is_zeros() {
    let zeros = [KeyRule::zeros_suffix("k.bias")];
    let file = without(projections(), "k.bias");
    assert_eq!(misfit(load_stack(&file, &[])).0[0], ["k.bias"]);
    let (module, _) = load_stack(&file, &zeros).unwrap();
    assert_eq!(values(&module.qkv.bias), [30., 31., 0., 50.]);
    let (module, _) = load_stack(&projections(), &zeros).unwrap();
    assert_eq!(values(&module.qkv.bias), [30., 31., 40., 50.]);

    let mut full = file;
    full[3] = counted("q.bias", &[3], 30.);
    let ([_, mismatched, _], report) = misfit(load_stack(&full, &zeros));
    assert_eq!(mismatched, ["qkv.bias"], "no row is left for the zeros");
    assert!(report.contains("`q.bias + v.bias` has [4]"), "{report}");
}

#[test]
fn zeros_share_the_rows_that_are_left() {
    let zeros = [
        KeyRule::zeros_suffix("k.bias"),
        KeyRule::zeros_suffix("q.bias"),
    ];
    let mut file = without(without(projections(), "k.bias"), "q.bias");
    let ([_, mismatched, _], _) = misfit(load_stack(&file, &zeros));
    assert_eq!(mismatched, ["qkv.bias"], "three rows for two");
    *file.last_mut().unwrap() = counted("v.bias", &[2], 50.);
    let (module, _) = load_stack(&file, &zeros).unwrap();
    assert_eq!(values(&module.qkv.bias), [0., 0., 50., 51.]);
    let ([missing, ..], _) = misfit(load_stack(&without(file, "v.bias"), &zeros));
    assert_eq!(missing, ["qkv.bias"], "zeros alone make no parameter");
}

#[test]
fn rows_stored_head_by_head_become_all_queries_then_all_keys_then_all_values() {
    const HEADS: usize = 2;
    const HEAD_DIM: usize = 3;
    let file = vec![
        counted("qkv.weight", &[18, 2], 0.),
        counted("qkv.bias", &[18], 0.),
    ];
    let rules = [KeyRule::regroup_part(
        "qkv.",
        RowOrder::new(HEADS, &[1, 1, 1]),
    )];
    let (module, report) = load([18, 2], &file, &rules, WeightOptions::default()).unwrap();
    let mut expected = Vec::new();
    for part in 0..3 {
        for head in 0..HEADS {
            for row in 0..HEAD_DIM {
                expected.push(((head * 3 + part) * HEAD_DIM + row) as f32);
            }
        }
    }
    assert_eq!(values(&module.qkv.bias), expected);
    let rows: Vec<f32> = expected
        .iter()
        .flat_map(|row| [2. * row, 2. * row + 1.])
        .collect();
    assert_eq!(values(weight(&module)), rows);
    assert_eq!(report.stored_bytes, 4 * (36 + 18));
}

#[test]
fn rows_that_the_groups_do_not_divide_are_a_mismatch() {
    let file = vec![
        counted("qkv.weight", &[4, 2], 0.),
        counted("qkv.bias", &[4], 0.),
    ];
    let rules = [KeyRule::regroup_part(
        "qkv.weight",
        RowOrder::new(2, &[2, 1]),
    )];
    let ([_, mismatched, _], report) = misfit(load([4, 2], &file, &rules, Default::default()));
    assert_eq!(mismatched, ["qkv.weight"]);
    assert!(
        report.contains("expects [6, 2], the tensor `qkv.weight` has [4, 2]"),
        "{report}"
    );
}

/// Numbers without a pattern between -1 and 1.
fn noise(len: usize, seed: usize) -> Vec<f32> {
    (0..len)
        .map(|index| ((index * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0)
        .collect()
}

fn floats(
    name: &'static str,
    shape: &'static [usize],
    values: &[f32],
) -> (&'static str, &'static str, &'static [usize], Vec<u8>) {
    (
        name,
        "F32",
        shape,
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
    )
}

const LORA: KeyRule = KeyRule::low_rank("lora_A", "lora_B", 0.75);

#[test]
fn a_low_rank_update_of_a_part_is_added_to_it() {
    let (down, up) = (noise(3 * 2, 1), noise(3, 2));
    let mut file = projections();
    file.push(floats("v.lora_A.weight", &[3, 2], &down));
    file.push(floats("v.lora_B.weight", &[1, 3], &up));
    let (module, report) = load_stack(&file, &[LORA]).unwrap();
    let found = values(weight(&module));
    assert_eq!(found[..6], [0., 1., 2., 3., 10., 11.]);
    for column in 0..2 {
        let sum: f64 = (0..3)
            .map(|k| f64::from(up[k]) * f64::from(down[k * 2 + column]))
            .sum();
        let expected = 20.0 + column as f64 + 0.75 * sum;
        assert!(
            (f64::from(found[6 + column]) - expected).abs() < 1e-5,
            "{found:?}"
        );
    }
    assert_eq!(report.stored_bytes, 4 * (12 + 9));
    assert_eq!(report.applied, ["qkv.weight", "qkv.bias"]);
}

#[test]
fn an_update_of_many_rows_follows_them_into_its_own_order() {
    const ROWS: usize = 600;
    const COLUMNS: usize = 512;
    const RANK: usize = 4;
    let values_of = noise(ROWS * COLUMNS, 3);
    let (down, up) = (noise(RANK * COLUMNS, 4), noise(ROWS * RANK, 5));
    let file = vec![
        floats("qkv.weight", &[ROWS, COLUMNS], &values_of),
        floats("qkv.bias", &[ROWS], &noise(ROWS, 6)),
        floats("qkv.lora_A.weight", &[RANK, COLUMNS], &down),
        floats("qkv.lora_B.weight", &[ROWS, RANK], &up),
    ];
    let load = |rules: &[KeyRule]| {
        let loaded = load([ROWS, COLUMNS], &file, rules, Default::default());
        loaded.unwrap().0
    };
    let order = |groups| RowOrder::new(groups, &[1, 2]);
    let natural = load(&[LORA]);
    let regrouped = load(&[LORA, KeyRule::regroup_part("qkv.", order(100))]);
    let same = load(&[LORA, KeyRule::regroup_part("qkv.", order(1))]);
    let apart = load(&[LORA, KeyRule::regroup_part("qkv.weight", order(100))]);
    let found = values(weight(&natural));
    for (index, found) in found.iter().enumerate() {
        let (row, column) = (index / COLUMNS, index % COLUMNS);
        let sum: f64 = (0..RANK)
            .map(|k| f64::from(up[row * RANK + k]) * f64::from(down[k * COLUMNS + column]))
            .sum();
        let expected = f64::from(values_of[index]) + 0.75 * sum;
        assert!(
            (f64::from(*found) - expected).abs() < 2e-6,
            "{row} {column}"
        );
    }
    assert_eq!(values(weight(&same)), found);
    let regrouped = values(weight(&regrouped));
    // Groups of six rows, two of the first part: row 2 is the first of the second group.
    assert_eq!(
        regrouped[2 * COLUMNS..3 * COLUMNS],
        found[6 * COLUMNS..7 * COLUMNS]
    );
    assert_eq!(
        regrouped[200 * COLUMNS..201 * COLUMNS],
        found[2 * COLUMNS..3 * COLUMNS]
    );
    // Where the factors are of another file, which has the rows as they are wanted.
    let apart = values(weight(&apart));
    for column in 0..COLUMNS {
        let [wanted, stored] = [2, 6].map(|row| row * COLUMNS + column);
        let added = found[wanted] - values_of[wanted];
        assert!((apart[wanted] - (values_of[stored] + added)).abs() < 2e-6);
    }
}

#[test]
fn an_update_must_fit_what_it_is_added_to() {
    let mut file = projections();
    file.push(counted("q.lora_A.weight", &[3, 2], 0.));
    let ([missing, ..], report) = misfit(load_stack(&file, &[LORA]));
    assert_eq!(missing, ["q.lora_B.weight"]);
    assert!(report.contains("`q.lora_B.weight` [2, 3]"), "{report}");

    file.push(counted("q.lora_B.weight", &[2, 4], 0.));
    let (_, report) = misfit(load_stack(&file, &[LORA]));
    assert!(
        report.contains("expects [2, 3], the tensor `q.lora_B.weight` has [2, 4]"),
        "{report}"
    );

    let ([missing, ..], _) = misfit(load_stack(&without(file, "q.weight"), &[LORA]));
    assert_eq!(missing, ["q.weight"]);
}

#[test]
fn an_update_without_any_values_leaves_the_parameter_missing() {
    let file = vec![
        counted("qkv.bias", &[4], 0.),
        counted("qkv.lora_A.weight", &[3, 2], 0.),
        counted("qkv.lora_B.weight", &[4, 3], 0.),
    ];
    let ([missing, _, unused], _) = misfit(load_stack(&file, &[LORA]));
    assert_eq!((missing, unused), (vec!["qkv.weight".to_string()], vec![]));
}

/// What `0.75 * up down` adds to a row, for factors of rank 1.
fn product(up: f32, down: [f32; 2]) -> [f32; 2] {
    down.map(|down| 0.75 * up * down)
}

/// Rows of two columns from 0 on, with products added to some of them.
fn sums<const ROWS: usize>(added: [Option<[f32; 2]>; ROWS]) -> Vec<f32> {
    let rows = added.iter().enumerate().flat_map(|(row, added)| {
        let [left, right] = added.unwrap_or_default();
        [2. * row as f32 + left, 2. * row as f32 + 1. + right]
    });
    rows.collect()
}

fn fused() -> File {
    vec![
        counted("qkv.weight", &[4, 2], 0.),
        counted("qkv.bias", &[4], 0.),
    ]
}

#[test]
fn factors_of_parts_are_added_to_their_rows_of_a_stored_whole() {
    let mut file = fused();
    file.push(floats("q.lora_A.weight", &[1, 2], &[1., 2.]));
    file.push(floats("q.lora_B.weight", &[2, 1], &[3., 4.]));
    file.push(floats("v.lora_A.weight", &[1, 2], &[5., 6.]));
    file.push(floats("v.lora_B.weight", &[1, 1], &[7.]));
    let (module, _) = load_stack(&file, &[LORA]).unwrap();
    let expected = sums([
        Some(product(3., [1., 2.])),
        Some(product(4., [1., 2.])),
        None,
        Some(product(7., [5., 6.])),
    ]);
    assert_eq!(values(weight(&module)), expected);
    // With the queries' factors the rows of the keys are known too.
    file.push(floats("k.lora_A.weight", &[1, 2], &[8., 9.]));
    file.push(floats("k.lora_B.weight", &[1, 1], &[10.]));
    let (module, _) = load_stack(&file, &[LORA]).unwrap();
    assert_eq!(values(weight(&module))[4..6], [4. + 60., 5. + 67.5]);
}

#[test]
fn factors_of_a_part_that_lies_nobody_knows_where_are_a_mismatch() {
    let mut file = fused();
    file.push(floats("k.lora_A.weight", &[1, 2], &[1., 2.]));
    file.push(floats("k.lora_B.weight", &[1, 1], &[3.]));
    let ([_, mismatched, _], report) = misfit(load_stack(&file, &[LORA]));
    assert_eq!(mismatched, ["qkv.weight"]);
    assert!(report.contains("`k.lora_B.weight` has [1, 1]"), "{report}");
}

#[test]
fn factors_of_the_whole_are_added_to_the_rows_of_stored_parts() {
    let mut file = projections();
    file.push(floats("qkv.lora_A.weight", &[1, 2], &[1., 2.]));
    file.push(floats("qkv.lora_B.weight", &[4, 1], &[0., 4., 8., 16.]));
    let (module, _) = load_stack(&file, &[LORA]).unwrap();
    assert_eq!(
        values(weight(&module)),
        [
            0.,
            1.,
            2. + 3.,
            3. + 6.,
            10. + 6.,
            11. + 12.,
            20. + 12.,
            21. + 24.
        ]
    );
}

#[test]
fn several_products_add_up() {
    let mut file = projections();
    file.push(floats("q.lora_A.weight", &[1, 2], &[1., 2.]));
    file.push(floats("q.lora_B.weight", &[2, 1], &[3., 4.]));
    file.push(floats("q.other_A.weight", &[2, 2], &[1., 0., 0., 1.]));
    file.push(floats("q.other_B.weight", &[2, 2], &[1., 2., 3., 4.]));
    let rules = [LORA, KeyRule::low_rank("other_A", "other_B", 2.)];
    let (module, _) = load_stack(&file, &rules).unwrap();
    assert_eq!(
        values(weight(&module))[..4],
        [2.25 + 2., 1. + 4.5 + 4., 2. + 3. + 6., 3. + 6. + 8.]
    );
}

#[test]
fn a_sum_is_kept_in_the_widest_type_of_what_is_added() {
    let mut file = projections();
    let narrow = |values: &[f32]| {
        let narrow = values.iter().map(|value| bf16::from_f32(*value));
        narrow.flat_map(bf16::to_le_bytes).collect::<Vec<u8>>()
    };
    file[0] = ("q.weight", "BF16", &[2, 2], narrow(&[1., 2., 3., 4.]));
    file[1] = ("k.weight", "BF16", &[1, 2], narrow(&[1., 2.]));
    file[2] = ("v.weight", "BF16", &[1, 2], narrow(&[1., 2.]));
    let (module, _) = load_stack(&file, &[]).unwrap();
    assert_eq!(weight(&module).val().dtype(), DType::BF16);
    file.push(floats("q.lora_A.weight", &[1, 2], &[1. / 1024., 0.]));
    file.push(floats("q.lora_B.weight", &[2, 1], &[1., 0.]));
    let (module, _) = load_stack(&file, &[LORA]).unwrap();
    assert_eq!(weight(&module).val().dtype(), DType::F32);
    assert_eq!(values(weight(&module))[0], 1. + 0.75 / 1024.);
}
