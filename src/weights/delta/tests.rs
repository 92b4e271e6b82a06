use super::*;
use crate::weights::test_files::{checkpoint_error, folder, typed_safetensors};

/// A file of one matrix and one vector.
fn model(dtype: &str, rows: &[[f32; 2]], name: &str) -> Vec<u8> {
    let bytes = |values: &[f32]| -> Vec<u8> {
        let values = values.iter();
        match dtype {
            "F16" => values
                .flat_map(|value| f16::from_f32(*value).to_le_bytes())
                .collect(),
            _ => values.flat_map(|value| value.to_le_bytes()).collect(),
        }
    };
    typed_safetensors(&[
        (
            "embed.weight",
            dtype,
            &[rows.len(), 2],
            bytes(rows.as_flattened()),
        ),
        (name, dtype, &[2], bytes(&[1.0, -1.0])),
        ("layers.0.rotary_emb.inv_freq", "F32", &[1], vec![0; 4]),
    ])
}

fn apply(base: &[u8], delta: &[u8], options: &DeltaOptions) -> Result<(DeltaReport, Checkpoint)> {
    let base = folder(&[("model.safetensors", base)]);
    let delta = folder(&[("model.safetensors", delta)]);
    let target = tempfile::tempdir().unwrap();
    let target = target.path().join("new");
    let report = apply_delta(base.path(), delta.path(), &target, options)?;
    Ok((report, Checkpoint::open(&target)?))
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    checkpoint.read(name).unwrap().to_f32().unwrap()
}

#[test]
fn a_row_that_the_base_lacks_begins_as_zeros_or_as_the_mean() {
    let base = model("F32", &[[1.0, 2.0], [3.0, 6.0]], "norm.weight");
    let delta = model("F16", &[[0.5, 0.5], [0.0, 1.0], [7.0, 8.0]], "norm.weight");
    for (new_rows, last) in [(NewRows::Zeros, [7.0, 8.0]), (NewRows::Mean, [9.0, 12.0])] {
        let options = DeltaOptions {
            new_rows,
            ..DeltaOptions::default()
        };
        let (report, sum) = apply(&base, &delta, &options).unwrap();
        let expected = [vec![1.5, 2.5, 3.0, 7.0], last.to_vec()].concat();
        assert_eq!(values(&sum, "embed.weight"), expected);
        assert_eq!(values(&sum, "norm.weight"), [2.0, -2.0]);
        assert_eq!(
            sum.get("embed.weight").unwrap().element_type().name(),
            "F16"
        );
        assert_eq!(
            (report.num_tensors, report.num_shards, sum.len()),
            (2, 1, 2)
        );
        assert_eq!(report.sum, f64::from(expected.iter().sum::<f32>()));
    }
}

#[test]
fn the_base_is_rounded_to_the_type_of_the_difference_first() {
    // In f16 the neighbours of 2048 are 2 apart.
    let base = model("F32", &[[2049.0, 0.0]], "norm.weight");
    let delta = model("F16", &[[1.0, 0.0]], "norm.weight");
    let (_, sum) = apply(&base, &delta, &DeltaOptions::default()).unwrap();
    assert_eq!(values(&sum, "embed.weight"), [2048.0, 0.0]);
}

#[test]
fn a_small_limit_makes_a_file_of_each_tensor() {
    let base = model("F32", &[[1.0, 2.0]], "norm.weight");
    let options = DeltaOptions {
        max_shard_bytes: 1,
        ..DeltaOptions::default()
    };
    let (report, sum) = apply(&base, &base, &options).unwrap();
    assert_eq!((report.num_shards, sum.paths().count()), (2, 2));
    assert_eq!(values(&sum, "embed.weight"), [2.0, 4.0]);
}

#[test]
fn what_does_not_fit_is_told_before_anything_is_written() {
    let base = model("F32", &[[1.0, 2.0], [3.0, 4.0]], "norm.weight");
    let other_name = model("F32", &[[1.0, 2.0]], "other.weight");
    let fewer_rows = model("F32", &[[1.0, 2.0]], "norm.weight");
    let error = checkpoint_error(apply(&base, &other_name, &DeltaOptions::default()));
    assert!(
        matches!(error, CheckpointError::UnknownTensor { .. }),
        "{error}"
    );
    let error = checkpoint_error(apply(&base, &fewer_rows, &DeltaOptions::default()));
    assert!(
        matches!(error, CheckpointError::InvalidTensor { .. }),
        "{error}"
    );
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let base = model("F32", &[[1.0, 2.0]], "norm.weight");
    let folder = folder(&[("model.safetensors", &base)]);
    let options = DeltaOptions::default();
    let apply = || {
        apply_delta(
            folder.path(),
            folder.path(),
            folder.path().join("new"),
            &options,
        )
    };
    apply().unwrap();
    let error = checkpoint_error(apply());
    assert!(
        matches!(error, CheckpointError::NotWritten { .. }),
        "{error}"
    );
}
