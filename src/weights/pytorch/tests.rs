use serde::Deserialize;

use super::*;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::test_files::{checkpoint_error, folder, pytorch_fixtures, zip};

#[derive(Debug, Deserialize)]
struct Expected {
    dtype: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn expected() -> BTreeMap<String, BTreeMap<String, Expected>> {
    let json = std::fs::read(pytorch_fixtures().join("expected.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn torch_name(element_type: super::super::element::ElementType) -> &'static str {
    match element_type.name() {
        "F32" => "float32",
        "F16" => "float16",
        "BF16" => "bfloat16",
        "F64" => "float64",
        "I64" => "int64",
        "BOOL" => "bool",
        other => other,
    }
}

fn open(name: &str) -> Result<Checkpoint> {
    Checkpoint::open_files(&[pytorch_fixtures().join(name)])
}

/// Reads an archive `archive/` with this pickle and these storages.
fn read_pickle(pickle: &[u8], storages: &[(&str, &[u8])]) -> Result<BTreeMap<String, TensorEntry>> {
    let mut entries = vec![("archive/data.pkl", pickle)];
    entries.extend_from_slice(storages);
    read_archive(&zip(&entries))
}

fn read_archive(archive: &[u8]) -> Result<BTreeMap<String, TensorEntry>> {
    let folder = folder(&[("pytorch_model.bin", archive)]);
    read_tensors(&WeightFile::open(&folder.path().join("pytorch_model.bin"))?)
}

/// The pickle of `{"w": tensor}` over the storage `0`, with small numbers everywhere.
fn tensor_pickle(kind: &str, storage_len: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple = |numbers: &[u8]| {
        let items = numbers.iter().flat_map(|number| [b'K', *number]);
        [b"(".to_vec(), items.collect(), b"t".to_vec()].concat()
    };
    [
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        b"X\x07\x00\x00\x00storage".to_vec(),
        format!("ctorch\n{kind}\n").into_bytes(),
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu".to_vec(),
        vec![b'K', storage_len, b't', b'Q', b'K', offset],
        tuple(shape),
        tuple(strides),
        b"\x89N".to_vec(),
        b"tRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn every_tensor_is_what_torch_says_it_is() {
    let mut num_tensors = 0;
    for (file, tensors) in expected() {
        let checkpoint = open(&file).unwrap();
        let names: Vec<_> = checkpoint
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(names, tensors.keys().cloned().collect::<Vec<_>>(), "{file}");
        for (name, expected) in tensors {
            let stored = checkpoint.read(&name).unwrap();
            assert_eq!(stored.info().shape(), expected.shape, "{file} {name}");
            assert_eq!(
                torch_name(stored.info().element_type()),
                expected.dtype,
                "{file} {name}"
            );
            if let Ok(found) = stored.to_f32() {
                assert_eq!(found, expected.values, "{file} {name}");
                num_tensors += 1;
            }
        }
    }
    assert!(num_tensors > 25, "{num_tensors}");
}

#[test]
fn a_pickle_that_asks_for_a_python_object_is_refused_by_its_name() {
    for (file, expected) in [
        ("malicious.bin", "posix.system"),
        ("whole_module.bin", "torch.nn.modules.container.Sequential"),
    ] {
        match checkpoint_error(open(file)) {
            CheckpointError::ForbiddenGlobal { global, .. } => assert_eq!(global, expected),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn what_torch_does_not_write_is_refused() {
    for file in ["compressed.bin", "big_endian.bin", "legacy_big_endian.bin"] {
        let error = checkpoint_error(open(file));
        assert!(
            matches!(error, CheckpointError::Unsupported { .. }),
            "{file}: {error}"
        );
    }
    let error = checkpoint_error(open("truncated.bin"));
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error}"
    );
    let error = checkpoint_error(open("legacy_truncated.bin"));
    assert!(
        matches!(error, CheckpointError::Truncated { .. }),
        "{error}"
    );
}

#[test]
fn an_old_file_is_cut_or_changed_anywhere_without_a_panic() {
    let whole = std::fs::read(pytorch_fixtures().join("legacy_views.bin")).unwrap();
    let read = |bytes: &[u8]| {
        let folder = folder(&[("old.bin", bytes)]);
        Checkpoint::open_files(&[folder.path().join("old.bin")])
    };
    for len in 20..whole.len() {
        assert!(read(&whole[..len]).is_err(), "the first {len} bytes");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0xff;
        // Either it is refused, or what changed was a number or a name.
        if let Ok(checkpoint) = read(&changed) {
            for (name, _) in checkpoint.iter() {
                checkpoint.read(name).unwrap();
            }
        }
    }
}

#[test]
fn an_old_storage_that_counts_more_than_the_file_has_is_refused_unread() {
    let mut bytes = std::fs::read(pytorch_fixtures().join("legacy_part.bin")).unwrap();
    let count = bytes.len() - 6 * 4 - 8;
    for (elements, is_truncated) in [(7u64, true), (u64::MAX, false), (5, false)] {
        bytes[count..count + 8].copy_from_slice(&elements.to_le_bytes());
        let folder = folder(&[("old.bin", &bytes)]);
        let error = checkpoint_error(Checkpoint::open_files(&[folder.path().join("old.bin")]));
        let found = matches!(error, CheckpointError::Truncated { .. });
        assert_eq!(found, is_truncated, "{elements} elements: {error}");
    }
}

#[test]
fn a_view_that_repeats_elements_is_refused_before_it_is_made() {
    match checkpoint_error(open("expanded.bin")) {
        CheckpointError::InvalidTensor { tensor, .. } => assert_eq!(tensor, "weight"),
        other => panic!("{other}"),
    }
}

#[test]
fn every_truncation_of_a_file_is_an_error() {
    let file = std::fs::read(pytorch_fixtures().join("views.bin")).unwrap();
    for len in 0..file.len() {
        assert!(read_archive(&file[..len]).is_err(), "{len}");
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let file = std::fs::read(pytorch_fixtures().join("views.bin")).unwrap();
    for position in 0..file.len() {
        let mut file = file.clone();
        file[position] ^= [0x01, 0x80, 0xff][position % 3];
        let _outcome = read_archive(&file);
    }
}

#[test]
fn a_tensor_must_lie_inside_its_storage() {
    let storage: (&str, &[u8]) = ("archive/data/0", &[0; 24]);
    let good = tensor_pickle("FloatStorage", 6, 0, &[2, 3], &[3, 1]);
    let tensors = read_pickle(&good, &[storage]).unwrap();
    assert_eq!(tensors["w"].info.shape(), [2, 3]);

    let cases = [
        (
            "offset",
            tensor_pickle("FloatStorage", 6, 1, &[2, 3], &[3, 1]),
        ),
        (
            "shape",
            tensor_pickle("FloatStorage", 6, 0, &[3, 3], &[3, 1]),
        ),
        (
            "strides",
            tensor_pickle("FloatStorage", 6, 0, &[2, 3], &[4, 1]),
        ),
        (
            "repeated",
            tensor_pickle("FloatStorage", 6, 0, &[255, 255], &[0, 0]),
        ),
        (
            "storage length",
            tensor_pickle("FloatStorage", 7, 0, &[2, 3], &[3, 1]),
        ),
        (
            "storage type",
            tensor_pickle("HalfStorage", 6, 0, &[2, 3], &[3, 1]),
        ),
    ];
    for (case, pickle) in cases {
        match checkpoint_error(read_pickle(&pickle, &[storage])) {
            CheckpointError::InvalidTensor { tensor, .. } => assert_eq!(tensor, "w", "{case}"),
            other => panic!("{case}: {other}"),
        }
    }
    let error = checkpoint_error(read_pickle(&good, &[("archive/data/1", &[0; 24])]));
    assert!(
        matches!(error, CheckpointError::InvalidTensor { .. }),
        "missing storage: {error}"
    );
}

#[test]
fn the_archive_must_be_one_of_torch() {
    let pickle = tensor_pickle("FloatStorage", 6, 0, &[2, 3], &[3, 1]);
    let storage: (&str, &[u8]) = ("archive/data/0", &[0; 24]);
    let mut damaged = zip(&[("archive/data.pkl", &pickle), storage]);
    // The end of an archive says where its directory begins.
    let offset = damaged.len() - 6;
    let directory = u32::from_le_bytes(damaged[offset..][..4].try_into().unwrap());
    damaged[directory as usize] ^= 1;
    let cases = [
        ("no pickle", zip(&[storage])),
        (
            "two pickles",
            zip(&[("a/data.pkl", &pickle), ("b/data.pkl", &pickle)]),
        ),
        (
            "two entries of a name",
            zip(&[("archive/data.pkl", &pickle), storage, storage]),
        ),
        ("no directory where one should be", damaged),
        ("no dictionary", zip(&[("archive/data.pkl", b"\x80\x02].")])),
        ("empty pickle", zip(&[("archive/data.pkl", b"")])),
    ];
    for (case, archive) in cases {
        let error = checkpoint_error(read_archive(&archive));
        assert!(
            matches!(error, CheckpointError::Malformed { .. }),
            "{case}: {error}"
        );
    }
}

#[test]
fn an_entry_cannot_reach_into_the_directory() {
    let pickle = tensor_pickle("FloatStorage", 7, 0, &[7], &[1]);
    let mut archive = zip(&[("archive/data.pkl", &pickle), ("archive/data/0", &[0; 24])]);
    // The two sizes in the last record of the directory, 4 bytes more than there are.
    let record = archive.len() - 22 - 46 - "archive/data/0".len();
    archive[record + 20] += 4;
    archive[record + 24] += 4;
    let error = checkpoint_error(read_archive(&archive));
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error}"
    );
}

#[test]
fn storages_that_share_bytes_are_refused() {
    let archive = zip(&[("archive/data.pkl", b"")]);
    let extents = [("0", (10, 40)), ("1", (30, 60))];
    let folder = folder(&[("pytorch_model.bin", archive.as_slice())]);
    let file = WeightFile::open(&folder.path().join("pytorch_model.bin")).unwrap();
    let archive = Archive::read(&file).unwrap();
    let located = extents
        .map(|(key, (start, end))| (key, Extent { start, end }))
        .into_iter()
        .collect();
    let storages = Storages {
        file: &file,
        archive: Some((&archive, "archive/")),
        located,
    };
    let error = checkpoint_error(storages.require_disjoint());
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error}"
    );
}

#[test]
fn two_ways_to_the_same_name_are_a_duplicate() {
    let tensor = tensor_pickle("FloatStorage", 6, 0, &[2, 3], &[3, 1]);
    // Without protocol and stop: the dictionary {"w": tensor}.
    let tensor = &tensor[2..tensor.len() - 1];
    let pickle = [
        b"\x80\x02}(X\x01\x00\x00\x00x",
        tensor,
        b"X\x03\x00\x00\x00x.w",
        b"N",
        b"u.",
    ]
    .concat();
    assert_eq!(
        read_pickle(&pickle, &[("archive/data/0", &[0; 24])])
            .unwrap()
            .len(),
        1
    );
    // Without the empty dictionary, its key and the opcode that sets it: the tensor alone.
    let body = &tensor[7..tensor.len() - 1];
    let pickle = [
        b"\x80\x02}(X\x01\x00\x00\x00x",
        tensor,
        b"X\x03\x00\x00\x00x.w",
        body,
        b"u.",
    ]
    .concat();
    match checkpoint_error(read_pickle(&pickle, &[("archive/data/0", &[0; 24])])) {
        CheckpointError::Duplicate { tensor, .. } => assert_eq!(tensor, "x.w"),
        other => panic!("{other}"),
    }
}

#[test]
fn shared_and_circular_dictionaries_end() {
    // d = {}; d[""] = d: a name that never grows.
    let circular = b"\x80\x02}q\x00X\x00\x00\x00\x00h\x00s.";
    let error = checkpoint_error(read_pickle(circular, &[]));
    assert!(matches!(error, CheckpointError::Limit { .. }), "{error}");
    // Each of 30 dictionaries holds the one before it twice: 2^30 paths.
    let mut doubling = b"\x80\x02}q\x00".to_vec();
    for level in 1..30u8 {
        doubling.extend(b"}(X\x01\x00\x00\x00a");
        doubling.extend([b'h', level - 1]);
        doubling.extend(b"X\x01\x00\x00\x00b");
        doubling.extend([b'h', level - 1, b'u', b'q', level]);
    }
    doubling.push(b'.');
    let error = checkpoint_error(read_pickle(&doubling, &[]));
    assert!(matches!(error, CheckpointError::Limit { .. }), "{error}");
}
