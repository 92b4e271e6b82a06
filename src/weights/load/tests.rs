use std::sync::atomic::{AtomicUsize, Ordering};

use std::collections::BTreeMap;

use burn::module::{Module, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_flex::Flex;

use super::*;
use crate::error::{CheckpointError, Result};
use crate::weights::element::WeightType;
use crate::weights::key_rule::KeyRule;
use crate::weights::options::Strictness;
use crate::weights::test_files::{
    checkpoint_error, f32_safetensors, folder, pytorch_fixtures, safetensors, zeros_safetensors,
};

/// How often a parameter of [`lazy`] was made.
static INITIALISED: AtomicUsize = AtomicUsize::new(0);

fn lazy<const D: usize>(shape: [usize; D]) -> Param<Tensor<Flex, D>> {
    let make = move |device: &_, _| {
        INITIALISED.fetch_add(1, Ordering::Relaxed);
        Tensor::zeros(shape, device)
    };
    Param::uninitialized(
        ParamId::new(),
        make,
        Default::default(),
        false,
        shape.into(),
    )
}

/// What the loader knows as a matrix, by its name.
#[derive(Module, Debug)]
struct Weight<B: Backend> {
    numbers: Param<Tensor<B, 2>>,
}

impl Weight<Flex> {
    fn param(&self) -> &Param<Tensor<Flex, 2>> {
        &self.numbers
    }
}

#[derive(Module, Debug)]
struct Linear<B: Backend> {
    weight: Weight<B>,
    bias: Option<Param<Tensor<B, 1>>>,
}

#[derive(Module, Debug)]
struct LastMatrix<B: Backend> {
    bias: Param<Tensor<B, 1>>,
    weight: Weight<B>,
}

/// Rows of numbers under the name of a matrix, which are none.
#[derive(Module, Debug)]
struct Positions<B: Backend> {
    weight: Param<Tensor<B, 2>>,
}

#[derive(Module, Debug)]
enum Projector<B: Backend> {
    Single(Linear<B>),
    Gated(Linear<B>),
}

#[derive(Module, Debug)]
struct Model<B: Backend> {
    layers: Vec<Linear<B>>,
    projector: Projector<B>,
    patch: Linear<B>,
    conv: Param<Tensor<B, 4>>,
    r#type: Param<Tensor<B, 2>>,
    positions: Positions<B>,
    words: Param<Tensor<B, 1, Int>>,
}

fn linear(out: usize, input: usize, has_bias: bool) -> Linear<Flex> {
    Linear {
        weight: Weight {
            numbers: lazy([out, input]),
        },
        bias: has_bias.then(|| lazy([out])),
    }
}

fn model() -> Model<Flex> {
    let words = Tensor::<Flex, 1, Int>::from_ints([7, 8], &Default::default());
    Model {
        layers: vec![linear(3, 2, true), linear(2, 3, false)],
        projector: Projector::Single(linear(4, 2, true)),
        patch: linear(2, 12, false),
        conv: lazy([2, 3, 1, 1]),
        r#type: lazy([2, 2]),
        positions: Positions {
            weight: lazy([3, 2]),
        },
        words: Param::initialized(ParamId::new(), words),
    }
}

/// The tensors of [`model`] under the names that a file would have.
const TENSORS: &[(&str, &[usize])] = &[
    ("model.layers.0.weight", &[3, 2]),
    ("model.layers.0.bias", &[3]),
    ("model.layers.1.weight", &[2, 3]),
    ("model.layers.0.rotary_emb.inv_freq", &[4]),
    ("model.projector.weight", &[4, 2]),
    ("model.projector.bias", &[4]),
    ("model.patch.weight", &[2, 3, 2, 2]),
    ("model.conv", &[2, 3, 1, 1]),
    ("model.type", &[2, 2]),
    ("model.positions.weight", &[3, 2]),
];

fn key_map() -> KeyMap {
    KeyMap::new(&[
        KeyRule::rename_prefix("model.", ""),
        KeyRule::ignore_suffix("rotary_emb.inv_freq"),
        KeyRule::reshape_suffix("patch.weight"),
    ])
}

fn load_from(
    tensors: &[(&str, &[usize])],
    options: WeightOptions,
) -> Result<(Model<Flex>, LoadReport)> {
    let folder = folder(&[("model.safetensors", &f32_safetensors(tensors))]);
    load_module(
        model(),
        &Checkpoint::open(folder.path())?,
        &key_map(),
        options,
    )
}

fn values<const D: usize>(param: &Param<Tensor<Flex, D>>) -> Vec<f32> {
    param.val().into_data().convert::<f32>().into_vec().unwrap()
}

#[test]
fn every_parameter_gets_its_tensor_under_its_path() {
    let before = INITIALISED.load(Ordering::Relaxed);
    let (model, report) = load_from(TENSORS, WeightOptions::default()).unwrap();
    assert_eq!(
        values(model.layers[0].weight.param()),
        [0., 1., 2., 3., 4., 5.]
    );
    assert_eq!(values(model.layers[0].bias.as_ref().unwrap()), [0., 1., 2.]);
    let Projector::Single(projector) = &model.projector else {
        panic!("{model}")
    };
    assert_eq!(projector.weight.param().shape().dims(), [4, 2]);
    assert_eq!(values(model.patch.weight.param()).len(), 24);
    assert_eq!(model.patch.weight.param().shape().dims(), [2, 12]);
    assert_eq!(values(&model.conv), [0., 1., 2., 3., 4., 5.]);
    assert_eq!(
        model
            .words
            .val()
            .into_data()
            .convert::<i32>()
            .into_vec::<i32>()
            .unwrap(),
        [7, 8]
    );
    assert_eq!(report.applied.len(), 9);
    assert_eq!(report.ignored, ["model.layers.0.rotary_emb.inv_freq"]);
    assert_eq!(report.kept, ["words"]);
    assert_eq!(
        INITIALISED.load(Ordering::Relaxed),
        before,
        "a parameter was made to be replaced"
    );
}

#[test]
fn matrices_take_the_type_asked_for_and_everything_else_is_f32() {
    for (weight_type, dtype) in [
        (WeightType::F16, DType::F16),
        (WeightType::BF16, DType::BF16),
        (WeightType::F32, DType::F32),
    ] {
        let options = WeightOptions::default().with_matrices(weight_type);
        let (model, _) = load_from(TENSORS, options).unwrap();
        assert_eq!(model.layers[0].weight.param().val().dtype(), dtype);
        assert_eq!(model.patch.weight.param().val().dtype(), dtype);
        assert_eq!(
            values(model.layers[0].weight.param()),
            [0., 1., 2., 3., 4., 5.]
        );
        assert_eq!(
            model.layers[0].bias.as_ref().unwrap().val().dtype(),
            DType::F32
        );
        assert_eq!(model.conv.val().dtype(), DType::F32);
        assert_eq!(model.r#type.val().dtype(), DType::F32);
        assert_eq!(model.positions.weight.val().dtype(), DType::F32);
    }
}

/// The tensors of [`model`], each in a type of its own.
fn mixed_types() -> Vec<u8> {
    let types = ["F16", "BF16", "F32", "F32", "BF16", "F16", "BF16"];
    let tensors = TENSORS.iter().zip(types.iter().cycle());
    let tensors: Vec<_> = tensors
        .map(|((name, shape), dtype)| (*name, *dtype, *shape))
        .collect();
    zeros_safetensors(&tensors)
}

#[test]
fn matrices_stay_as_they_are_stored_and_everything_else_is_f32() {
    let folder = folder(&[("model.safetensors", &mixed_types())]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let options = WeightOptions::default();
    let (model, report) = load_module(model(), &checkpoint, &key_map(), options).unwrap();
    let Projector::Single(projector) = &model.projector else {
        panic!("{model}")
    };
    let matrices = [&model.layers[0], &model.layers[1], projector, &model.patch];
    let kept = matrices.map(|linear| linear.weight.param().val().dtype());
    assert_eq!(kept, [DType::F16, DType::F32, DType::BF16, DType::BF16]);
    let bias = model.layers[0].bias.as_ref().unwrap();
    assert_eq!(bias.val().dtype(), DType::F32);
    assert_eq!(model.positions.weight.val().dtype(), DType::F32);
    let (f16, f32, bf16) = (WeightType::F16, WeightType::F32, WeightType::BF16);
    assert_eq!(
        report.matrices.into_iter().collect::<Vec<_>>(),
        [(f32.into(), 1), (f16.into(), 1), (bf16.into(), 2)]
    );
    assert!(report.widened.is_empty());
}

/// The types that [`mixed_types`] would be kept in, on a device that reads bf16 in rows of four only.
fn kept_with_bf16_in_fours(
    options: &WeightOptions,
) -> Result<(BTreeMap<String, KeptType>, LoadReport)> {
    let folder = folder(&[("model.safetensors", &mixed_types())]);
    let checkpoint = Checkpoint::open(folder.path())?;
    let reads = |kept, columns: usize| match kept {
        KeptType::Floats(WeightType::BF16) if !columns.is_multiple_of(4) => Reading::Never,
        _ => Reading::Kernel,
    };
    let parameters = Parameters::of(&model());
    let mut plan = Plan::new(parameters, &checkpoint, &key_map(), options)?;
    plan.choose_types(&checkpoint, options.matrices, &reads)?;
    let kept = plan.sources.into_iter();
    let kept = kept.map(|(path, source)| (path, source.kept));
    Ok((kept.collect(), plan.report))
}

#[test]
fn what_the_device_does_not_read_is_widened_and_named() {
    let (kept, report) = kept_with_bf16_in_fours(&WeightOptions::default()).unwrap();
    assert_eq!(kept["projector.weight"], WeightType::F32.into());
    assert_eq!(kept["patch.weight"], WeightType::BF16.into());
    let widened = report.widened.iter().map(ToString::to_string);
    assert_eq!(widened.collect::<Vec<_>>(), ["`projector.weight` (bf16)"]);
    assert_eq!(report.matrices[&WeightType::F32.into()], 2);
}

#[test]
fn a_type_that_is_asked_for_and_not_read_is_an_error() {
    let options = WeightOptions::default().with_matrices(WeightType::BF16);
    let error = checkpoint_error(kept_with_bf16_in_fours(&options));
    assert!(
        matches!(
            error,
            CheckpointError::WeightType {
                weight_type: "bf16"
            }
        ),
        "{error}"
    );
}

#[test]
fn a_missing_tensor_is_named_with_what_it_may_be_called() {
    let mut tensors = TENSORS.to_vec();
    tensors[2].0 = "model.layer.1.weight";
    match checkpoint_error(load_from(&tensors, WeightOptions::default())) {
        CheckpointError::Incomplete {
            missing,
            mismatched,
            unused,
            report,
        } => {
            assert_eq!(missing, ["layers.1.weight"]);
            assert!(mismatched.is_empty());
            assert_eq!(unused, ["model.layer.1.weight"]);
            let expected = "`layers.1.weight` [2, 3] (perhaps the tensor `model.layer.1.weight`)";
            assert!(report.contains(expected), "{report}");
        }
        other => panic!("{other}"),
    }
    let options = WeightOptions::default().with_strictness(Strictness::AllowUnused);
    assert!(
        load_from(&tensors, options).is_err(),
        "missing tensors are never allowed"
    );
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let mut tensors = TENSORS.to_vec();
    tensors[0].1 = &[2, 3];
    match checkpoint_error(load_from(&tensors, WeightOptions::default())) {
        CheckpointError::Incomplete {
            mismatched, report, ..
        } => {
            assert_eq!(mismatched, ["layers.0.weight"]);
            assert!(
                report.contains("expects [3, 2], the tensor `model.layers.0.weight` has [2, 3]"),
                "{report}"
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn another_rank_is_a_mismatch_unless_a_rule_allows_it() {
    let folder = folder(&[("model.safetensors", &f32_safetensors(TENSORS))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let map = KeyMap::new(&[
        KeyRule::rename_prefix("model.", ""),
        KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    ]);
    match checkpoint_error(load_module(
        model(),
        &checkpoint,
        &map,
        WeightOptions::default(),
    )) {
        CheckpointError::Incomplete { mismatched, .. } => assert_eq!(mismatched, ["patch.weight"]),
        other => panic!("{other}"),
    }
}

#[test]
fn unused_tensors_are_reported_and_an_error_where_that_is_asked_for() {
    let tensors = [TENSORS, &[("extra.weight", &[1])]].concat();
    let options = WeightOptions::default().with_strictness(Strictness::Strict);
    match checkpoint_error(load_from(&tensors, options)) {
        CheckpointError::Incomplete { unused, .. } => assert_eq!(unused, ["extra.weight"]),
        other => panic!("{other}"),
    }
    let (_, report) = load_from(&tensors, WeightOptions::default()).unwrap();
    assert_eq!(report.unused[0].tensor, "extra.weight");
}

#[test]
fn two_tensors_for_one_parameter_are_an_error() {
    let tensors = [TENSORS, &[("type", &[2, 2])]].concat();
    match checkpoint_error(load_from(&tensors, WeightOptions::default())) {
        CheckpointError::NameCollision {
            parameter,
            first,
            second,
        } => {
            assert_eq!([parameter, first, second], ["type", "model.type", "type"]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_parameter_is_not_filled_from_integers_and_nothing_else_is_read_first() {
    let header = r#"{"bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
        "weight":{"dtype":"I64","shape":[1,1],"data_offsets":[4,12]}}"#;
    let folder = folder(&[("model.safetensors", &safetensors(header, &[0; 12]))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let mut progress = |progress: LoadProgress<'_>| panic!("read {}", progress.tensor);
    let options = WeightOptions::default().with_progress(&mut progress);
    let module = LastMatrix {
        bias: lazy([1]),
        weight: Weight {
            numbers: lazy([1, 1]),
        },
    };
    let error = checkpoint_error(load_module(
        module,
        &checkpoint,
        &KeyMap::default(),
        options,
    ));
    assert!(
        matches!(error, CheckpointError::ElementType { found: "I64", .. }),
        "{error}"
    );
}

#[test]
fn a_weight_out_of_range_stops_the_load_and_is_named() {
    let header = r#"{"weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
        "bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    let data: Vec<u8> = [1.0f32, 1e6, 0.0]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let folder = folder(&[("model.safetensors", &safetensors(header, &data))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let mut progress = |progress: LoadProgress<'_>| panic!("read {}", progress.tensor);
    let options = WeightOptions::default()
        .with_matrices(WeightType::F16)
        .with_progress(&mut progress);
    let result = load_module(linear(1, 2, true), &checkpoint, &KeyMap::default(), options);
    match checkpoint_error(result) {
        CheckpointError::Overflow {
            tensor,
            value,
            target,
        } => {
            assert_eq!((tensor.as_str(), value, target), ("weight", 1e6, "f16"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn progress_ends_with_every_byte_done() {
    let mut seen = Vec::new();
    let mut progress = |progress: LoadProgress<'_>| {
        seen.push((
            progress.done_bytes,
            progress.total_bytes,
            progress.tensor.to_string(),
        ));
    };
    let options = WeightOptions::default().with_progress(&mut progress);
    let (_, report) = load_from(TENSORS, options).unwrap();
    assert_eq!(seen.len(), 9);
    assert!(seen.is_sorted());
    let (done, total, _) = seen[8];
    assert_eq!((done, total), (report.stored_bytes, report.stored_bytes));
}

#[test]
fn views_of_a_pytorch_file_arrive_in_row_major_order() {
    let checkpoint = Checkpoint::open_files(&[pytorch_fixtures().join("views.bin")]).unwrap();
    let map = KeyMap::new(&[
        KeyRule::only_prefix("transposed"),
        KeyRule::rename_prefix("transposed", "weight"),
    ]);
    let (module, _) = load_module(
        linear(6, 4, false),
        &checkpoint,
        &map,
        WeightOptions::default(),
    )
    .unwrap();
    let expected = checkpoint.read("transposed").unwrap().to_f32().unwrap();
    assert_eq!(values(module.weight.param()), expected);
    let base = checkpoint.read("base").unwrap().to_f32().unwrap();
    assert_eq!(expected[1], base[6]);
}

#[test]
fn a_parameter_keeps_its_identity() {
    let module = linear(3, 2, true);
    let id = module.weight.param().id;
    let folder = folder(&[(
        "model.safetensors",
        &f32_safetensors(&[("weight", &[3, 2]), ("bias", &[3])]),
    )]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let (module, _) = load_module(
        module,
        &checkpoint,
        &KeyMap::default(),
        WeightOptions::default(),
    )
    .unwrap();
    assert_eq!(module.weight.param().id, id);
}
