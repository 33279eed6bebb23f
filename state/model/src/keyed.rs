//! Maps whose keys are more than one word, in JSON: there a key is text, so the key's own JSON is.

use std::collections::BTreeMap;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

/// Writes a map with each key as the text of its JSON.
pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = |key: &K| serde_json::to_string(key).map_err(S::Error::custom);
    let named = map.iter().map(|(key, value)| Ok((text(key)?, value)));
    serializer.collect_map(named.collect::<Result<Vec<_>, S::Error>>()?)
}

/// Reads what [`serialize`] wrote.
pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: DeserializeOwned + Ord,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let named = BTreeMap::<String, V>::deserialize(deserializer)?;
    let key = |text: &str| serde_json::from_str(text).map_err(D::Error::custom);
    named.into_iter().map(|(text, value)| Ok((key(&text)?, value))).collect()
}
