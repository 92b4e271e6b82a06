//! A JSON object whose keys must differ: the usual maps silently keep the last of two.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::limits::MAX_TENSORS;

/// The key under which safetensors headers carry free text instead of a tensor.
const METADATA_KEY: &str = "__metadata__";

/// The entries of a JSON object, in the order of their keys.
///
/// Limits and repeated keys are recorded and not raised here, because a parser's error is only
/// text: whoever knows the file turns them into the right error.
#[derive(Debug)]
pub(super) struct UniqueMap<V> {
    /// At most one more than the limit, whatever the file holds.
    pub(super) entries: BTreeMap<String, V>,
    /// Entries in the file.
    pub(super) count: usize,
    /// A key that was there twice.
    pub(super) repeated: Option<String>,
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMapVisitor(PhantomData))
    }
}

struct UniqueMapVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueMapVisitor<V> {
    type Value = UniqueMap<V>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensor names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = UniqueMap {
            entries: BTreeMap::new(),
            count: 0,
            repeated: None,
        };
        let mut has_metadata = false;
        while let Some(key) = access.next_key::<String>()? {
            if key == METADATA_KEY {
                access.next_value::<BTreeMap<String, String>>()?;
                if std::mem::replace(&mut has_metadata, true) {
                    map.repeated = Some(key);
                }
                continue;
            }
            map.count += 1;
            if map.count > MAX_TENSORS + 1 {
                access.next_value::<IgnoredAny>()?;
            } else if map
                .entries
                .insert(key.clone(), access.next_value()?)
                .is_some()
            {
                map.repeated = Some(key);
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_seen() {
        let map: UniqueMap<u8> = serde_json::from_str(r#"{"a": 1, "b": 2, "a": 1}"#).unwrap();
        assert_eq!(map.repeated.as_deref(), Some("a"));
        let map: UniqueMap<u8> =
            serde_json::from_str(r#"{"__metadata__": {}, "__metadata__": {}}"#).unwrap();
        assert_eq!(map.repeated.as_deref(), Some("__metadata__"));
    }

    #[test]
    fn metadata_is_text_and_no_entry() {
        let map: UniqueMap<u8> = serde_json::from_str(r#"{"__metadata__": {"a": "b"}}"#).unwrap();
        assert_eq!(map.count, 0);
        assert!(serde_json::from_str::<UniqueMap<u8>>(r#"{"__metadata__": {"a": 1}}"#).is_err());
    }

    #[test]
    fn entries_above_the_limit_are_counted_and_not_kept() {
        let entries: Vec<String> = (0..MAX_TENSORS + 50)
            .map(|n| format!("\"{n}\":0"))
            .collect();
        let json = format!("{{{}}}", entries.join(","));
        let map: UniqueMap<u8> = serde_json::from_str(&json).unwrap();
        assert_eq!(map.count, MAX_TENSORS + 50);
        assert_eq!(map.entries.len(), MAX_TENSORS + 1);
    }
}
