use super::*;
use crate::error::Error;
use crate::weights::test_files::{checkpoint_error, f32_safetensors, folder, pytorch_fixtures};

fn index(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(tensor, shard)| format!("{tensor:?}: {shard:?}"))
        .collect();
    format!(
        r#"{{"metadata": {{"total_size": 1}}, "weight_map": {{{}}}}}"#,
        entries.join(", ")
    )
    .into_bytes()
}

const INDEX: &str = "model.safetensors.index.json";

/// A folder of an index and of shards that hold the named tensors.
fn sharded(map: &[(&str, &str)], shards: &[(&str, &[&str])]) -> tempfile::TempDir {
    let folder = folder(&[(INDEX, &index(map))]);
    for (shard, names) in shards {
        let tensors: Vec<_> = names
            .iter()
            .map(|name| (*name, [2usize].as_slice()))
            .collect();
        std::fs::write(folder.path().join(shard), f32_safetensors(&tensors)).unwrap();
    }
    folder
}

#[test]
fn a_single_file_is_read_lazily_and_in_the_order_of_names() {
    let folder = folder(&[(
        "model.safetensors",
        &f32_safetensors(&[("b", &[2, 2]), ("a", &[3])]),
    )]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let names: Vec<_> = checkpoint.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        checkpoint.read("b").unwrap().to_f32().unwrap(),
        [0.0, 1.0, 2.0, 3.0]
    );
    assert_eq!(checkpoint.get("a").unwrap().shape(), [3]);
    assert_eq!(checkpoint.get("c"), None);
}

#[test]
fn shards_of_both_formats_make_one_checkpoint() {
    let folder = sharded(
        &[
            ("a", "m-1.safetensors"),
            ("b", "m-2.safetensors"),
            ("c", "m-1.safetensors"),
        ],
        &[
            ("m-1.safetensors", &["a", "c"]),
            ("m-2.safetensors", &["b"]),
        ],
    );
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.len(), 3);
    assert_eq!(checkpoint.paths().count(), 2);
    let checkpoint = Checkpoint::open(pytorch_fixtures().join("sharded")).unwrap();
    assert_eq!(checkpoint.get("b.weight").unwrap().shape(), [3, 2]);
    assert_eq!(checkpoint.len(), 3);
}

#[test]
fn safetensors_win_over_pytorch_and_a_single_file_over_an_index() {
    let folder = sharded(&[("a", "m-1.safetensors")], &[("m-1.safetensors", &["a"])]);
    std::fs::write(
        folder.path().join("model.safetensors"),
        f32_safetensors(&[("x", &[1])]),
    )
    .unwrap();
    std::fs::write(folder.path().join("pytorch_model.bin"), b"not read").unwrap();
    assert!(Checkpoint::open(folder.path()).unwrap().get("x").is_some());
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(Checkpoint::open(folder.path()).unwrap().get("a").is_some());
}

#[test]
fn the_only_weight_file_is_taken_and_of_several_none() {
    let one = folder(&[
        ("adapter.safetensors", &f32_safetensors(&[("a", &[1])])),
        ("notes.txt", b""),
    ]);
    assert_eq!(Checkpoint::open(one.path()).unwrap().len(), 1);
    std::fs::write(one.path().join("other.pth"), b"").unwrap();
    match checkpoint_error(Checkpoint::open(one.path())) {
        CheckpointError::Ambiguous { found, .. } => {
            assert_eq!(found, ["adapter.safetensors", "other.pth"]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_folder_without_weights_says_what_was_looked_for() {
    match checkpoint_error(Checkpoint::open(folder(&[("config.json", b"{}")]).path())) {
        CheckpointError::Missing { looked_for, .. } => assert_eq!(looked_for[1], INDEX),
        other => panic!("{other}"),
    }
    let error = Checkpoint::open("/nowhere/at/all").unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = checkpoint_error(Checkpoint::open(file.path()));
    assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
}

#[test]
fn an_index_that_is_none_is_malformed() {
    let cases: [&[u8]; 7] = [
        b"",
        b"[]",
        b"{}",
        br#"{"weight_map": []}"#,
        br#"{"weight_map": {"a": 1}}"#,
        br#"{"weight_map": {}}"#,
        b"\xff",
    ];
    for content in cases {
        let error = checkpoint_error(Checkpoint::open(folder(&[(INDEX, content)]).path()));
        assert!(
            matches!(error, CheckpointError::Malformed { .. }),
            "{error}"
        );
    }
}

#[test]
fn of_two_entries_of_an_index_for_one_tensor_the_last_counts() {
    let index = br#"{"weight_map": {"a": "gone.safetensors", "a": "m.safetensors"}}"#;
    let file = f32_safetensors(&[("a", &[1])]);
    let folder = folder(&[(INDEX, index), ("m.safetensors", &file)]);
    Checkpoint::open(folder.path()).expect("as Python reads it");
}

#[test]
fn an_index_larger_than_any_is_over_the_limit() {
    let many: Vec<_> = (0..1000)
        .map(|n| (format!("t{n}"), format!("m{n}.safetensors")))
        .collect();
    let many: Vec<_> = many
        .iter()
        .map(|(tensor, shard)| (tensor.as_str(), shard.as_str()))
        .collect();
    let error = checkpoint_error(Checkpoint::open(folder(&[(INDEX, &index(&many))]).path()));
    assert!(matches!(error, CheckpointError::Limit { .. }), "{error}");
    let folder = folder(&[(INDEX, b"{}")]);
    let file = std::fs::File::options()
        .write(true)
        .open(folder.path().join(INDEX))
        .unwrap();
    file.set_len(1 << 40).unwrap();
    let error = checkpoint_error(Checkpoint::open(folder.path()));
    assert!(matches!(error, CheckpointError::Limit { .. }), "{error}");
}

#[test]
fn an_index_cannot_name_a_file_elsewhere() {
    for name in [
        "../m.safetensors",
        "/etc/passwd",
        "a/../../m.safetensors",
        "C:\\m.safetensors",
        "m.bin",
    ] {
        let folder = sharded(&[("a", name)], &[]);
        let error = checkpoint_error(Checkpoint::open(folder.path()));
        assert!(
            matches!(error, CheckpointError::UnsafeName { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn every_shard_of_the_index_must_be_there_and_sound() {
    let folder = sharded(&[("a", "m-1.safetensors")], &[]);
    match checkpoint_error(Checkpoint::open(folder.path())) {
        CheckpointError::MissingShards { shards, .. } => assert_eq!(shards, ["m-1.safetensors"]),
        other => panic!("{other}"),
    }
    std::fs::write(folder.path().join("m-1.safetensors"), b"").unwrap();
    let error = checkpoint_error(Checkpoint::open(folder.path()));
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error}"
    );
}

#[test]
fn an_index_may_promise_what_is_absent_and_omit_what_is_there() {
    let map = &[("a", "m-1.safetensors"), ("ghost", "m-1.safetensors")];
    let folder = sharded(map, &[("m-1.safetensors", &["a", "b"])]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let names: Vec<_> = checkpoint.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn of_two_tensors_of_a_name_the_last_shard_has_the_one_that_counts() {
    let map = [
        ("a", "m-1.safetensors"),
        ("b", "m-1.safetensors"),
        ("c", "m-2.safetensors"),
    ];
    let folder = sharded(&map, &[("m-2.safetensors", &["c", "b"])]);
    let first = f32_safetensors(&[("a", &[2]), ("b", &[3])]);
    std::fs::write(folder.path().join("m-1.safetensors"), first).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(
        (checkpoint.len(), checkpoint.get("b").unwrap().shape()),
        (3, [2].as_slice())
    );
}

#[test]
fn tensors_are_equal_if_their_bytes_are() {
    let long = COMPARED_BYTES as usize / 4 + 1;
    let shape = [long];
    let one = f32_safetensors(&[("a", &shape), ("b", &[2]), ("c", &[1, 2])]);
    let same = f32_safetensors(&[("d", &shape)]);
    let mut other = f32_safetensors(&[("e", &shape)]);
    *other.last_mut().unwrap() ^= 1;
    let folder = folder(&[
        ("1.safetensors", &one),
        ("2.safetensors", &same),
        ("3.safetensors", &other),
    ]);
    let paths = [1, 2, 3].map(|number| folder.path().join(format!("{number}.safetensors")));
    let checkpoint = Checkpoint::open_files(&paths).unwrap();
    let is_equal = |first, second| checkpoint.holds_equal(first, second).unwrap();
    assert!(is_equal("a", "a") && is_equal("a", "d"));
    assert!(!is_equal("a", "e"), "the last byte differs");
    assert!(!is_equal("b", "c"), "another shape");
    assert!(checkpoint.holds_equal("a", "z").is_err());
}

#[test]
fn files_that_hold_the_same_tensor_do_not_make_one_checkpoint() {
    let file = f32_safetensors(&[("a", &[1])]);
    let folder = folder(&[("x.safetensors", &file), ("y.safetensors", &file)]);
    let paths = ["x.safetensors", "y.safetensors"].map(|name| folder.path().join(name));
    match checkpoint_error(Checkpoint::open_files(&paths)) {
        CheckpointError::Duplicate {
            tensor,
            first,
            second,
        } => {
            assert_eq!((tensor.as_str(), [first, second]), ("a", paths));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn files_of_other_formats_are_recognised() {
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    for content in [lfs.as_slice(), b"GGUF\x01\x00\x00\x00"] {
        for name in ["model.safetensors", "pytorch_model.bin"] {
            let error = checkpoint_error(Checkpoint::open(folder(&[(name, content)]).path()));
            assert!(
                matches!(error, CheckpointError::Unsupported { .. }),
                "{error}"
            );
        }
    }
    for content in [
        b"<!DOCTYPE html>".as_slice(),
        b"",
        &f32_safetensors(&[("a", &[1])]),
    ] {
        let folder = folder(&[("pytorch_model.bin", content)]);
        let error = checkpoint_error(Checkpoint::open(folder.path()));
        assert!(
            matches!(
                error,
                CheckpointError::Malformed {
                    format: "PyTorch",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn an_unknown_tensor_is_answered_with_the_nearest_name() {
    let folder = folder(&[(
        "model.safetensors",
        &f32_safetensors(&[("model.norm.weight", &[1])]),
    )]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    match checkpoint_error(checkpoint.read("model.norm.bias")) {
        CheckpointError::UnknownTensor { nearest, .. } => {
            assert_eq!(nearest.as_deref(), Some("model.norm.weight"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn an_integer_tensor_is_listed_but_is_no_weight() {
    let checkpoint = Checkpoint::open_files(&[pytorch_fixtures().join("plain.bin")]).unwrap();
    assert_eq!(checkpoint.read("position_ids").unwrap().bytes().len(), 32);
    let error = checkpoint_error(checkpoint.read_as("position_ids", WeightType::F32));
    assert!(
        matches!(error, CheckpointError::ElementType { found: "I64", .. }),
        "{error}"
    );
}

#[test]
fn a_file_that_shrinks_after_opening_is_an_error_and_not_a_crash() {
    let folder = folder(&[("model.safetensors", &f32_safetensors(&[("a", &[64])]))]);
    let path = folder.path().join("model.safetensors");
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(100)
        .unwrap();
    for error in [
        checkpoint_error(checkpoint.read("a")),
        checkpoint_error(checkpoint.read_as("a", WeightType::F16)),
    ] {
        assert!(
            matches!(error, CheckpointError::Truncated { .. }),
            "{error}"
        );
    }
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    fn weights() -> Vec<u8> {
        f32_safetensors(&[("a", &[2])])
    }

    #[test]
    fn a_link_out_of_the_folder_is_followed() {
        let outside = folder(&[("5f3a", &weights())]);
        let single = folder(&[]);
        let shard = sharded(&[("a", "m-1.safetensors")], &[]);
        let only = folder(&[]);
        for (folder, name) in [
            (&single, "model.safetensors"),
            (&shard, "m-1.safetensors"),
            (&only, "x.safetensors"),
        ] {
            symlink(outside.path().join("5f3a"), folder.path().join(name)).unwrap();
            assert_eq!(Checkpoint::open(folder.path()).unwrap().len(), 1);
        }
        let device = folder(&[]);
        symlink("/dev/zero", device.path().join("model.safetensors")).unwrap();
        let error = checkpoint_error(Checkpoint::open(device.path()));
        assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
    }

    #[test]
    fn links_inside_the_folder_and_to_the_folder_are_followed() {
        let real = folder(&[("weights-v1.safetensors", &weights())]);
        symlink(
            "weights-v1.safetensors",
            real.path().join("model.safetensors"),
        )
        .unwrap();
        let parent = folder(&[]);
        symlink(real.path(), parent.path().join("latest")).unwrap();
        assert_eq!(
            Checkpoint::open(parent.path().join("latest"))
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let pipe = sharded(&[("a", "m-1.safetensors")], &[]);
        let path = pipe.path().join("m-1.safetensors");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
        let index_pipe = folder(&[]);
        let path = index_pipe.path().join(INDEX);
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
        let directory = sharded(&[("a", "m-1.safetensors")], &[]);
        std::fs::create_dir(directory.path().join("m-1.safetensors")).unwrap();
        for folder in [pipe, index_pipe, directory] {
            let error = checkpoint_error(Checkpoint::open(folder.path()));
            assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
        }
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let circle = folder(&[]);
        symlink("b.safetensors", circle.path().join("model.safetensors")).unwrap();
        symlink("model.safetensors", circle.path().join("b.safetensors")).unwrap();
        let error = Checkpoint::open(circle.path()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}

#[test]
fn a_later_part_replaces_what_an_earlier_one_holds() {
    let one = f32_safetensors(&[("w", &[1]), ("x", &[1])]);
    let two = f32_safetensors(&[("w", &[2])]);
    let folder = folder(&[("one.safetensors", &one), ("two.safetensors", &two)]);
    let part = |name: &str, prefix| CheckpointPart {
        path: folder.path().join(name),
        prefix,
    };
    let open = |parts: &[CheckpointPart]| Checkpoint::open_parts(parts).unwrap();
    let apart = open(&[part("one.safetensors", "a."), part("two.safetensors", "b.")]);
    let names: Vec<_> = apart.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a.w", "a.x", "b.w"]);
    let joined = open(&[part("one.safetensors", ""), part("two.safetensors", "")]);
    let values = |name| joined.read(name).unwrap().to_f32().unwrap();
    assert_eq!(values("w"), [0.0, 1.0]);
    assert_eq!(values("x"), [0.0]);
}
