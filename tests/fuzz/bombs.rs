//! Files that are made to cost more than they hold: numbers without bytes, nests without end, one
//! text named a million times.
//!
//! | Kind | What is done about it |
//! |---|---|
//! | counts and lengths beyond the file | held against its bytes before anything is made |
//! | nests of marks, tuples, lists, dictionaries, arrays | read in a loop; values and depth are counted |
//! | a text or a dictionary that is named again and again | names and visits are counted |
//! | directories of a hundred thousand entries | bytes and entries are counted |
//! | pictures of many blocks that hold nothing | passed over, one at a time |
//! | pictures of many pixels and no data | refused, or read within what their size takes |

use std::fs;
use std::time::{Duration, Instant};

use burn_vlm::backend::Cpu;
use burn_vlm::{ImageInput, LoadOptions, MultimodalPipeline};

use crate::memory;
use crate::support::copy_model;
use crate::watch::{CaughtPanics, finding, watch_panics};

/// What a bomb may take, however busy the machine is.
const TIME_LIMIT: Duration = Duration::from_secs(20);

const SAFETENSORS: &str = "model.safetensors";
const PYTORCH: &str = "pytorch_model.bin";
const GGUF: &str = "model.gguf";

/// The type of a list in the metadata of a GGUF file.
const LIST: [u8; 4] = [9, 0, 0, 0];

/// Its name, the file that it is, and how it is made.
type Bomb = (&'static str, &'static str, fn() -> Vec<u8>);

const WEIGHTS: &[Bomb] = &[
    ("lists in lists", SAFETENSORS, || {
        header(&"[".repeat(1 << 20))
    }),
    ("objects in objects", SAFETENSORS, || {
        header(&r#"{"a":"#.repeat(1 << 18))
    }),
    ("tensors of nothing", SAFETENSORS, || {
        let tensor =
            |at: usize| format!(r#""{at}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
        header(&format!("{{{}}}", joined(200_000, tensor)))
    }),
    ("a shape of many axes", SAFETENSORS, || {
        let axes = joined(1 << 18, |_| "1".to_string());
        header(&format!(
            r#"{{"a":{{"dtype":"F32","shape":[{axes}],"data_offsets":[0,4]}}}}"#
        ))
    }),
    ("notes without number", SAFETENSORS, || {
        let notes = joined(1 << 20, |at| format!(r#""{at}":"""#));
        header(&format!(r#"{{"__metadata__":{{{notes}}}}}"#))
    }),
    ("an empty shape of exabytes", SAFETENSORS, || {
        header(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}"#)
    }),
    ("offsets below the start", SAFETENSORS, || {
        header(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[-4,0]}}"#)
    }),
    ("marks", PYTORCH, || pickle(&b"(".repeat(4 << 20))),
    ("tuples in tuples", PYTORCH, || {
        pickle(&[b"N".as_slice(), &b"\x85".repeat(4 << 20)].concat())
    }),
    ("lists in lists", PYTORCH, || {
        pickle(&[b"]".repeat(2 << 20), b"a".repeat(2 << 20)].concat())
    }),
    ("a dictionary in itself", PYTORCH, || {
        pickle(b"}q\x01(X\x01\0\0\0ah\x01u")
    }),
    ("values that are remembered", PYTORCH, || {
        let mut memo = b"N".to_vec();
        (0..2_u32 << 20).for_each(|slot| memo.extend([&b"r"[..], &slot.to_le_bytes()].concat()));
        pickle(&memo)
    }),
    ("a long name, again and again", PYTORCH, || {
        let name = [&b"X\0\0\x10\0"[..], &b"a".repeat(1 << 20), b"q\x01N"].concat();
        pickle(&[&b"}("[..], &name, &b"h\x01N".repeat(1 << 20), b"u"].concat())
    }),
    ("a text of exabytes", PYTORCH, || {
        pickle(&[&b"\x8d"[..], &[0xff; 7], b"\x0fabc"].concat())
    }),
    ("a directory of many entries", PYTORCH, || {
        zip(&(0..60_000)
            .map(|at| (format!("a/data/{at}"), &b""[..]))
            .collect::<Vec<_>>())
    }),
    ("a directory that is promised", PYTORCH, || {
        let mut file = zip(&[("a/data.pkl".to_string(), &b"\x80\x02}."[..])]);
        let end = file.len() - 22;
        file[end + 8..end + 20].fill(0xff);
        file
    }),
    ("many entries", GGUF, || gguf(0, 1 << 60, b"")),
    ("many tensors", GGUF, || gguf(1 << 60, 0, b"")),
    ("a long key", GGUF, || {
        gguf(0, 1, &(1_u64 << 60).to_le_bytes())
    }),
    ("a long list", GGUF, || {
        gguf(0, 1, &[&text("a")[..], &list(4, 1 << 60)[..]].concat())
    }),
    ("lists in lists", GGUF, || {
        let inner = [&LIST[..], &1_u64.to_le_bytes()].concat();
        let lists = [&LIST[..], &inner.repeat(1 << 20)].concat();
        gguf(0, 1, &[&text("a")[..], &lists[..]].concat())
    }),
    ("texts of nothing", GGUF, || {
        let texts = vec![0; 8 << 20];
        gguf(
            0,
            1,
            &[&text("a")[..], &list(8, 1 << 20)[..], &texts].concat(),
        )
    }),
    ("a tensor of all there is", GGUF, || {
        let shape = (1_u64 << 40).to_le_bytes().repeat(4);
        gguf(
            1,
            0,
            &[&text("a")[..], &4_u32.to_le_bytes()[..], &shape, &[0; 12]].concat(),
        )
    }),
    ("a tensor of many axes", GGUF, || {
        gguf(1, 0, &[&text("a")[..], &[0xff; 4][..]].concat())
    }),
    ("no alignment", GGUF, || {
        let alignment = [&4_u32.to_le_bytes()[..], &[0; 4]].concat();
        gguf(0, 1, &[text("general.alignment"), alignment].concat())
    }),
];

const PICTURES: &[Bomb] = &[
    ("notes", "a.gif", || {
        gif(&[b'!', 0xfe, 0].repeat(4 << 20), &[2, 0x44, 1], 1)
    }),
    ("blocks of a byte", "a.gif", || {
        gif(b"", &[1, 0x44].repeat(4 << 20), 1)
    }),
    ("a large frame", "a.gif", || gif(b"", &[2, 0x44, 1], 9000)),
    ("a large frame", "a.jpg", || {
        let frame = [8, 0x3a, 0x34, 0x36, 0xb0, 1, 1, 0x11, 0];
        let segment = |marker: u8, body: &[u8]| {
            let length = u16::try_from(body.len() + 2).expect("a short segment");
            [&[0xff, marker][..], &length.to_be_bytes(), body].concat()
        };
        let quantised = segment(0xdb, &[&[0][..], &[1; 64]].concat());
        let code = |class: u8| segment(0xc4, &[&[class, 1][..], &[0; 15], &[0]].concat());
        let scan = segment(0xda, &[1, 1, 0, 0, 63, 0]);
        let segments = [quantised, segment(0xc0, &frame), code(0), code(0x10), scan];
        [&[0xff, 0xd8][..], &segments.concat(), &[0xff, 0xd9]].concat()
    }),
];

#[test]
fn weights_that_cost_more_than_they_hold_are_refused_at_once() {
    let _alone = memory::alone();
    watch_panics();
    let found = WEIGHTS.iter().filter_map(|(name, file, make)| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if *file != GGUF {
            copy_model("dynamic_rope", folder.path());
            fs::remove_file(folder.path().join(SAFETENSORS)).expect("the fixture has weights");
        }
        fs::write(folder.path().join(file), make()).expect("a writable folder");
        let found = within_limits(move || {
            let opened = MultimodalPipeline::<Cpu>::open(folder.path(), &LoadOptions::new());
            match opened {
                Ok(_) => Err("a model without weights opens".to_string()),
                Err(error) => Ok(Some(error.to_string())),
            }
        });
        found.map(|found| format!("{file}, {name}: {found}"))
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn pictures_that_cost_more_than_they_hold_are_read_or_refused_at_once() {
    let _alone = memory::alone();
    watch_panics();
    let found = PICTURES.iter().filter_map(|(name, file, make)| {
        let bytes = make();
        let found = within_limits(move || {
            let read = ImageInput::from_bytes(&bytes);
            Ok(read.err().map(|error| error.to_string()))
        });
        found.map(|found| format!("{file}, {name}: {found}"))
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn within_limits(
    attempt: impl FnOnce() -> Result<Option<String>, String> + Send + 'static,
) -> Option<String> {
    let start = Instant::now();
    let found = finding(CaughtPanics::AreFindings, attempt);
    let time = start.elapsed();
    found.or_else(|| (time > TIME_LIMIT).then(|| format!("it took {time:?}")))
}

fn joined(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

/// A safetensors file of a header alone.
fn header(json: &str) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat()
}

/// What `torch.save` would write around a pickle.
fn pickle(program: &[u8]) -> Vec<u8> {
    let pickle = [b"\x80\x02", program, b"."].concat();
    zip(&[("a/data.pkl".to_string(), pickle.as_slice())])
}

/// An archive of files as they are.
fn zip(files: &[(String, &[u8])]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let sizes = [content.len() as u32; 2].map(u32::to_le_bytes).concat();
        let name_length = (name.len() as u16).to_le_bytes();
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc32(content).to_le_bytes(),
            &sizes,
            &name_length,
            &[0, 0],
        ]
        .concat();
        let at = (archive.len() as u32).to_le_bytes();
        archive.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
        directory.extend(
            [
                b"PK\x01\x02\x14\0",
                &common[..],
                &[0; 10],
                &at,
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let entries = [files.len() as u16; 2].map(u16::to_le_bytes).concat();
    let length = (directory.len() as u32).to_le_bytes();
    let start = (archive.len() as u32).to_le_bytes();
    let end = [
        b"PK\x05\x06\0\0\0\0",
        &entries[..],
        &length,
        &start,
        &[0, 0],
    ]
    .concat();
    [archive, directory, end].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn gguf(tensors: u64, entries: u64, rest: &[u8]) -> Vec<u8> {
    let counts = [tensors, entries].map(u64::to_le_bytes).concat();
    [b"GGUF\x03\0\0\0", &counts[..], rest].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The beginning of a list of so many items of a type.
fn list(of: u32, count: u64) -> Vec<u8> {
    [&LIST[..], &of.to_le_bytes(), &count.to_le_bytes()].concat()
}

/// A frame of two colours behind some blocks.
fn gif(blocks: &[u8], data: &[u8], side: u16) -> Vec<u8> {
    let side = side.to_le_bytes();
    let screen = [
        b"GIF89a",
        &side[..],
        &side,
        &[0x80, 0, 0, 0, 0, 0, 255, 255, 255],
    ]
    .concat();
    let frame = [&b",\0\0\0\0"[..], &side, &side, &[0, 2], data, b"\0;"].concat();
    [&screen[..], blocks, &frame].concat()
}
